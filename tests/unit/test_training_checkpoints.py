"""The checkpoint from which a killed training resumes."""

import errno

from greenllm.training import checkpoints


def write(folder, step, whole=True):
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    if whole:
        checkpoints.mark_whole(checkpoint)
    return checkpoint


def test_the_newest_complete_checkpoint_is_resumed(tmp_path):
    training = checkpoints.fingerprint({"seed": 1})
    assert checkpoints.open_folder(tmp_path, training) is None
    write(tmp_path, 9)
    newest = write(tmp_path, 10)
    unmarked = write(tmp_path, 11, whole=False)
    shortened = write(tmp_path, 12)
    (shortened / "optimizer.pt").write_bytes(b"mom")
    lacking = write(tmp_path, 13)
    (lacking / "optimizer.pt").unlink()

    assert checkpoints.open_folder(tmp_path, training) == newest
    assert checkpoints.step_of(newest) == 10
    assert not any(broken.exists() for broken in (unmarked, shortened, lacking))


def test_another_training_starts_anew(tmp_path):
    checkpoints.open_folder(tmp_path, checkpoints.fingerprint({"seed": 1}))
    stale = write(tmp_path, 10)
    assert checkpoints.open_folder(tmp_path, checkpoints.fingerprint({"seed": 2})) is None
    assert not stale.exists()


def test_a_full_disk_is_distinguished_from_other_errors(tmp_path):
    assert checkpoints.no_space(OSError(errno.ENOSPC, "No space left on device"), tmp_path, 0)
    assert checkpoints.no_space(OSError(errno.EDQUOT, "Disk quota exceeded"), tmp_path, 0)
    assert not checkpoints.no_space(OSError(errno.EACCES, "Permission denied"), tmp_path, 10**18)
    assert checkpoints.no_space(RuntimeError("PytorchStreamWriter failed writing file"), tmp_path, 10**18)
    assert not checkpoints.no_space(RuntimeError("shapes do not match"), tmp_path, 1)
