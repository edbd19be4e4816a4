"""The device of a recipe. Needs no GPU: torch's answers are mocked."""

import dataclasses
from pathlib import Path

import pytest
import torch

from wukongctl.config.training import TrainingSpec
from wukongctl.data.schema import Batch
from wukongctl.errors import UsageError
from wukongctl.training import hardware


def recipe(**keys: object) -> TrainingSpec:
    return TrainingSpec.from_dict({"data": "d", "model": {"name": "mlp"}, **keys})


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))


def test_without_a_gpu_auto_is_cpu_and_cuda_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.execution(recipe()).device == hardware.CPU
    with pytest.raises(UsageError, match="needs a GPU"):
        hardware.execution(recipe(device="cuda"))


@pytest.mark.usefixtures("gpu")
def test_with_a_gpu_a_process_takes_it_unless_told_otherwise() -> None:
    assert hardware.execution(recipe()).device == torch.device("cuda", 1)
    assert hardware.execution(recipe(device="cuda")).device == torch.device("cuda", 1)
    assert hardware.execution(recipe(device="cpu")).device == hardware.CPU


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("local_rank", "expected"), [("0", 0), ("1", 1), ("2", 0), ("3", 1)])
def test_each_process_of_a_machine_takes_a_gpu_of_its_own_while_there_are_any(
    monkeypatch: pytest.MonkeyPatch, local_rank: str, expected: int
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    for device in ("auto", "cuda"):
        found = hardware.execution(recipe(device=device), processes=4)
        assert found.device == torch.device("cuda", expected)
        assert found.notes == ()
    assert hardware.execution(recipe(device="cpu"), processes=4).device == hardware.CPU


def test_processes_that_find_no_gpu_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.execution(recipe(), processes=4).notes == (
        "torch finds no GPU: 4 processes train on CPU",
    )
    assert hardware.execution(recipe(device="cpu"), processes=4).notes == ()
    assert hardware.execution(recipe()).notes == ()


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("precision", ["bfloat16", "tf32"])
def test_precision_is_that_of_the_device(precision: str) -> None:
    asked = hardware.execution(recipe(precision=precision))
    assert asked.precision == "float32"
    assert asked.notes == (f"this GPU has no {precision} instructions: `precision` falls back to float32",)


def test_tf32_is_for_gpus_and_asks_torch_for_it() -> None:
    asked = hardware.execution(recipe(precision="tf32", device="cpu"))
    assert asked.notes == ("this CPU has no tf32 instructions: `precision` falls back to float32",)
    before = torch.get_float32_matmul_precision()
    try:
        dataclasses.replace(asked, precision="tf32").apply()
        assert torch.get_float32_matmul_precision() == "high"
        asked.apply()
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)


def test_batch_moves_to_a_device() -> None:
    batch = Batch(torch.zeros(2, 3, dtype=torch.int32), torch.zeros(2, 1), torch.zeros(2), torch.zeros(2))
    moved = batch.to(torch.device("meta"))
    assert {part.device.type for part in moved if part is not None} == {"meta"}
    assert batch.to(hardware.CPU) is batch


def test_random_state_is_restored() -> None:
    state = hardware.random_state(hardware.CPU)
    first = torch.rand(3)
    hardware.set_random_state(hardware.CPU, state)
    assert torch.equal(torch.rand(3), first)


def test_failing_compiler_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, code in (("good", 0), ("broken", 1)):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat > /dev/null\nexit {code}\n")
        (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("CXX", str(tmp_path / name))
        assert hardware.has_compiler() == (code == 0)


def test_keys_of_a_gpu_are_noted_on_a_cpu() -> None:
    asked = hardware.execution(recipe(device="cpu", data_on="device", cuda_graph=True))
    assert asked.notes == (
        "`cuda_graph` has no effect on a CPU",
        "`data_on: device` has no effect on a CPU",
    )
