"""A disk that takes no more: what libraries raise becomes a line with the place and the way out."""

import errno
import os
import resource
import signal

import pytest

from vitrina.disk import describe_fault, filling, full_disk, nameless_file

KEPT = "what is committed is kept: free some space and run it again"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_what_libraries_raise_is_known(number):
    reason = os.strerror(number)
    for err in (
        OSError(number, reason),
        OSError(f"Error writing bytes to file. Detail: [errno {number}] {reason}"),
        RuntimeError(f"Error in faiss: write error in x: 3 != 4 ({reason})"),
    ):
        assert full_disk(err).errno == number
        with pytest.raises(OSError) as caught, filling("some/place"):
            raise err
        assert describe_fault(caught.value) == f"some/place: {reason}; {KEPT}"


def test_other_faults_pass():
    assert full_disk(ValueError("No such file")) is None
    with pytest.raises(KeyError), filling("some/place"):
        raise KeyError("x")
    with pytest.raises(PermissionError) as caught, filling("some/place"):
        raise PermissionError(errno.EACCES, "Permission denied", "elsewhere")
    assert describe_fault(caught.value) == "elsewhere: Permission denied"
    with pytest.raises(OSError) as caught, filling("outer"), filling("inner"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == "inner"


def test_room_is_allocated_at_once(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with nameless_file(tmp_path, 8192) as file:
            status = os.fstat(file.fileno())
            assert (status.st_size, status.st_blocks >= 16) == (8192, True)
        with (
            pytest.raises(OSError, match="File too large") as caught,
            nameless_file(tmp_path, 20_000),
        ):
            pytest.fail("there is no room")
        assert caught.value.filename == str(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not list(tmp_path.iterdir())
