"""Jobs of the package: one subpackage for each, on top of `common`."""
