"""The command behind ``docs/speed.md``: what is kept, what is left out, page and pictures."""

import json
import subprocess
import sys

from bench import gpu, scaling, scaling_page

HERE = {"commit": "abc1234", "cores": 2, "torch": "2.13", "quick": False}


def rows():
    """Tables of the shape that measurements have: rates that saturate, times that grow."""
    speed = [
        {
            "measured": str(n), "threads": str(n), "batch": str(b),
            "chip_images_per_second": str(300 * n**0.9 * b / (b + 6)),
            "torch_images_per_second": str(600 * n**0.9 * b / (b + 3)), "ratio": "2.1",
        }
        for n in (1, 2)
        for b in (2**i for i in range(10))
    ]  # fmt: skip
    memory = [
        {"measured": what, "what": what, "batch": str(2**i), "mebibytes": str(base + 2**i)}
        for what, base in (("torch", 390), ("chip", 750))
        for i in range(10)
    ]
    times = {"program_seconds": 7e-8, "at_seconds": 9e-8, "compensate_seconds": 3e-8}
    devices = [
        {"measured": str(n), "devices": str(n), **{k: str(n * v) for k, v in times.items()},
         "mebibytes": "520", "left_out": ""}
        for n in (10**4, 10**5, 10**6, 10**7)
    ]  # fmt: skip
    devices.append(
        dict.fromkeys(devices[0], "") | {"devices": str(10**8), "left_out": "4.0 GB needed"}
    )
    study = [{"workers": str(n), "trials": "100", "seconds": str(60 / n)} for n in (1, 2)]
    text = "layers\n\nforward of 128 images\n\npart   ms\nproduct 1\n\nat the limits: 2 ms"
    profile = [{"command": "aimc-sim profile resnet32", "text": text}]
    return {"speed": speed, "memory": memory, "devices": devices, "study": study,
            "profile": profile}  # fmt: skip


def test_page_and_pictures(tmp_path):
    (tmp_path / "scaling").mkdir()
    scaling_page.write(tmp_path, rows(), HERE | {"load": "1.5"})
    page = (tmp_path / "speed.md").read_text()
    for line in (
        "| commit | abc1234 |",
        "| 512 | 297 | 597 | 2.1x | 553 | 1,113 | 2.1x |",
        "| 512 | 1,262 | 902 |",
        "| 2 | 30 s | 3.33 |",
        "| 1,000,000 | 0.07 s | 0.09 s | 0.03 s | 520 MiB |",
        "| 100,000,000 | - | - | - | 4.0 GB needed |",
    ):
        assert line in page.splitlines(), line
    for name in ("speed", "memory", "devices"):
        assert f"(scaling/{name}.png)" in page
        assert (tmp_path / "scaling" / f"{name}.png").stat().st_size > 10_000


def test_the_page_says_when_figures_are_not_to_be_trusted(tmp_path):
    (tmp_path / "scaling").mkdir()
    for changes, text in (
        ({"load": "3.5"}, "**The machine was busy with other work"),
        ({"load": "1.5", "quick": True}, "**A trial of the command"),
        ({"load": "2.5"}, "[`scaling/`](scaling).\n"),
    ):
        scaling_page.write(tmp_path, rows(), HERE | changes)
        assert text in (tmp_path / "speed.md").read_text()


def test_what_is_finished_is_kept_on_the_same_machine_only(tmp_path):
    tables = scaling.Tables(tmp_path, HERE)
    tables.add("study", 1, [{"workers": 1, "trials": 100, "seconds": 60.0}])
    again = scaling.Tables(tmp_path, dict(HERE))
    assert again.has("study", 1)
    assert not again.has("study", 2)
    again.add("study", 2, [{"workers": 2, "trials": 100, "seconds": 30.0}])
    assert [row["workers"] for row in again.rows("study")] == ["1", "2"]
    assert not scaling.Tables(tmp_path, HERE | {"torch": "2.14"}).has("study", 1)
    dirty = HERE | {"commit": "abc1234-dirty"}
    scaling.Tables(tmp_path, dirty).add("study", 1, [{"workers": 1}])
    assert not scaling.Tables(tmp_path, dirty).has("study", 1)


def test_what_does_not_fit_is_left_out_with_its_reason(monkeypatch):
    monkeypatch.setattr(scaling, "free_bytes", lambda: 5e9)
    (row,) = scaling.devices(10**8, quick=True)
    assert row["left_out"] == "5.0 GB needed, 3.0 GB allowed (60% of the free memory)"
    assert row["program_seconds"] == ""


def test_devices_are_programmed_and_looked_at():
    (row,) = scaling.devices(10**4, quick=True)
    assert row["devices"] == 10**4
    assert row["left_out"] == ""
    assert min(row[f"{name}_seconds"] for name in ("program", "at", "compensate")) > 0


def test_a_trial_needs_a_folder_of_its_own():
    done = subprocess.run(
        [sys.executable, scaling.__file__, "--quick"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "needs a folder of its own" in done.stderr


def test_the_gpu_table_runs_on_a_processor(tmp_path, capsys, monkeypatch):
    """Its path is the same on a card; where there is none it says so."""
    few = {name: gpu.SETTINGS[name] for name in ("1-phase",)}
    monkeypatch.setattr(gpu, "SETTINGS", few)
    out = tmp_path / "gpu.json"
    gpu.main(["--device", "cpu", "--batch", "2", "--rounds", "1", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["timed_on_a_gpu"] is False
    assert "not yet timed on a GPU" in capsys.readouterr().out
    assert {row["setting"] for row in found["rows"]} == set(few)
    assert all(row["ratio"] > 0 and row["images_per_second"] > 0 for row in found["rows"])
