"""The package of the guide to your own model: installed, counted, trained, exported."""

import re
from pathlib import Path

import pytest
import torch

import wukongctl as wk
from tests.cli.conftest import Wukong, dataset, prepared, wukong
from tests.models.zoo import SCHEMA, double, make_batch
from tests.plugins.installed import FWFM, install_fwfm
from wukongctl.config.loading import validate
from wukongctl.config.model import FMSpec
from wukongctl.config.positions import parse
from wukongctl.config.search_space import search_space
from wukongctl.config.training import TrainingSpec
from wukongctl.errors import UsageError
from wukongctl.models import build

__all__ = ["dataset", "prepared", "wukong"]  # fixtures
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "own-model.md"
RECIPE = "data: tiny\ndefaults: fixed\nmodel: {name: fwfm, width: 4}\nbatch_size: 100\nthreads: 1\n"


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_fwfm(tmp_path / "site", monkeypatch)


def test_the_guide_shows_the_files_of_the_package() -> None:
    shown = re.findall(r"^```(?:toml|python)\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    files = ["pyproject.toml", "fwfm/section.py", "fwfm/network.py"]
    assert shown == [(FWFM / name).read_text() for name in files]


def test_with_equal_weights_of_all_pairs_it_is_an_fm() -> None:
    recipe = validate(parse(RECIPE, "r.yaml"), TrainingSpec)
    own, fm = (
        build(section, SCHEMA, sparse=False).double()
        for section in (recipe.model, FMSpec(name="fm", width=4))
    )
    weights = own.state_dict()
    torch.nn.init.normal_(weights["embeddings.ids.table.weight"])
    fm.load_state_dict(
        {k.replace("pairs", "interaction"): v for k, v in weights.items() if k != "pairs.weights"}
    )
    batch = double(make_batch())
    torch.testing.assert_close(own(batch), fm(batch), rtol=1e-12, atol=1e-12)


def test_commands_take_it_as_any_other_model(wukong: Wukong, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    assert wukong("recipes", "check", "mine.yaml").code == 0
    counted = wukong("flops", "mine.yaml", "--json").json[0]
    assert counted["macs"] == counted["traced_macs"] == 8 * 8 * 4  # no numbers: eight embeddings
    drafted = wukong("recipes", "init", "tiny", "--model", "fwfm").out
    assert "name: fwfm" in drafted
    trained = wukong("train", "mine.yaml", "--json")
    assert trained.code == 0, trained.err
    run = wk.Run(trained.json["run"], data=dataset)
    assert run.metrics["test"]["auc"] > 0
    assert run.info.versions["wukongctl-fwfm"] == "1.0"
    assert wukong("train", "mine.yaml", "--json").json["run"] == trained.json["run"]
    assert wukong("export", run.path, "--out", "served").code == 0
    assert len(run.predictions("valid")) == 200
    assert "linear" in wukong("recipes", "schema", "training", "--markdown").out


def test_changed_code_of_the_package_is_another_code(
    wukong: Wukong, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fwfm

    recipe = {"defaults": "fixed", "model": {"name": "fwfm", "width": 4}, "threads": 1}
    tiny = wk.Dataset(dataset / "tiny")
    before = wk.train(recipe, tiny, seed=1).info.code_digest
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "network.py").write_text("# other code")
    monkeypatch.setattr(fwfm, "__path__", [*fwfm.__path__, str(tmp_path / "edited")])
    after = wk.train(recipe, tiny, seed=2).info.code_digest
    assert before != after


def test_tuning_varies_what_its_section_says() -> None:
    space = search_space(validate(parse(RECIPE, "r.yaml"), TrainingSpec), 1000)
    assert {"model.linear", "model.width", "model.logit_scale"} <= set(space)


def test_a_network_that_is_none_is_one_line(monkeypatch: pytest.MonkeyPatch, dataset: Path) -> None:
    from fwfm.section import FwFMSpec

    tiny = wk.Dataset(dataset / "tiny")
    for network, why in (
        (torch.nn.Linear, "is not a subclass of `wukongctl.models.Model`"),
        (None, "TypeError"),
    ):
        monkeypatch.setattr(FwFMSpec, "network", classmethod(lambda cls, network=network: network or 1 + ""))
        with pytest.raises(UsageError, match=f"model `fwfm` of the package `wukongctl-fwfm` 1.0 .*{why}"):
            wk.build("fwfm", tiny)
