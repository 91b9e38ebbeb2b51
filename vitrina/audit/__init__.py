"""The labelling audit: which labels are probably wrong, why, and a page to correct them on."""
