"""The recipes of the shipped checkpoints: what the cards beside them say, and what the files remember."""

import json
import shlex
from pathlib import Path

import pytest

from cxrbench.cli.pretrain import parse_options
from cxrbench.encoders.backbones.encoder import WEIGHTS
from cxrbench.encoders.pretraining.engine.pretrain import PretrainConfig, checked
from evidence.cards import card
from evidence.recipes import DRAWINGS, SHIPPED, Recipe, drawing_command
from evidence.training import facts_of, is_of, state

IN_ANOTHER_FOLDER = ("--out", "--data-dir", "--seed")


def said(command: str) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Words, settings and options of a ``cxrbench`` command, but for where it was run and what it began from."""
    words, settings, options = [], {}, []
    rest = iter(shlex.split(command))
    for word in rest:
        if word == "--option":
            options.append(next(rest))
        elif word.startswith("--"):
            settings[word] = "" if word == "--half" else next(rest)
        else:
            words.append(word)
    kept = {name: text for name, text in settings.items() if name not in (*IN_ANOTHER_FOLDER, "--init")}
    numbers = {name: f"{float(text):g}" if text[:1].isdigit() else text for name, text in kept.items()}
    return words, numbers, {name: text for name, text in parse_options(options).items() if name != "init"}


def commands(text: str) -> list[str]:
    """The commands of a card."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("cxrbench ")]


@pytest.mark.parametrize("method", SHIPPED)
def test_the_card_of_the_weights_gives_the_recipe(method: str) -> None:
    drawn, trained = commands((WEIGHTS / f"{method}_phantom.md").read_text())
    assert said(trained) == said(SHIPPED[method].command(0))
    assert said(drawn) == said(drawing_command(SHIPPED[method].folder))


@pytest.mark.parametrize("method", SHIPPED)
def test_the_method_takes_the_settings_and_options_of_its_recipe(method: str) -> None:
    recipe = SHIPPED[method]
    settings = recipe.all_settings()
    if recipe.after:  # what ships in the place of what would be trained
        assert settings["init"] == SHIPPED[recipe.after].weights(0)
        settings["init"] = str(WEIGHTS / f"{recipe.after}_phantom.safetensors")
    found, _ = checked(PretrainConfig(method, options=recipe.options, seed=0, half=True, **settings))
    assert (found.backbone.width, found.backbone.depth) == (192, 4)


@pytest.mark.parametrize("method", SHIPPED)
def test_the_weights_were_made_by_the_recipe(method: str) -> None:
    facts = facts_of(WEIGHTS / f"{method}_phantom.safetensors", method)
    recipe = SHIPPED[method]
    config = dict(facts["config"])
    config["options"] = {name: text for name, text in config["options"].items() if name != "init"}
    assert (config["options"], config["seed"], config["half"]) == (recipe.options, 0, True)
    assert {name: config[name] for name in recipe.settings} == dict(recipe.settings)
    assert sorted(facts["images"]) == sorted(recipe.data)


@pytest.mark.parametrize("method", SHIPPED)
def test_a_card_written_anew_gives_the_recipe_and_the_facts_of_the_file(method: str) -> None:
    facts = facts_of(WEIGHTS / f"{method}_phantom.safetensors", method) | {"training": {}}  # files of old know no hours
    text = card(SHIPPED[method], facts, 1234, {"wall": 7200.0, "cpu": 3600.0})
    drawn, trained = commands(text)
    assert said(trained) == said(SHIPPED[method].command(0))
    assert said(drawn) == said(drawing_command(SHIPPED[method].folder))
    of_file = facts | {"training": {"hours": {"wall": 0.7, "cpu": 0.4}}}
    assert "0.7 hours (0.4 of one core's time)" in card(SHIPPED[method], of_file, 1, {"wall": 0.0, "cpu": 0.0})
    assert "hours" not in card(SHIPPED[method], facts, 1, {"wall": 0.0, "cpu": 0.0})
    assert f"1,234 steps of {facts['config']['batch_size']}, 2.0 hours (1.0 of one core's time)" in text
    assert max(map(len, text.splitlines())) <= 140


def test_another_seed_option_or_setting_is_another_recipe() -> None:
    recipe = Recipe("spcl", ("vindr",), {"epochs": 3, "lr": 1e-3}, {"ratio": "0.3"})
    config = {"epochs": 3, "lr": 1e-3, "batch_size": 8, "seed": 1, "options": {"ratio": "0.3"}}
    assert is_of(recipe, 1, {"config": config})
    for changed in ({"seed": 0}, {"epochs": 4}, {"options": {}}, {"options": {"ratio": "0.3", "augment": "true"}}):
        assert not is_of(recipe, 1, {"config": config | changed})


def test_what_was_begun_is_not_finished(tmp_path: Path) -> None:
    recipe = SHIPPED["spcl"]
    assert state(recipe, 1, tmp_path) == "missing"
    (tmp_path / recipe.run(1)).mkdir()
    (tmp_path / recipe.run(1) / "last.ckpt").touch()
    assert state(recipe, 1, tmp_path) == "begun"


def test_what_a_recipe_begins_from_is_trained_before_it() -> None:
    order = list(SHIPPED)
    for method, recipe in SHIPPED.items():
        assert not recipe.after or order.index(recipe.after) < order.index(method)


def test_recipes_are_chosen_on_images_that_no_training_has_seen() -> None:
    training, choice = DRAWINGS["phantom-pretraining"], DRAWINGS["phantom-choice"]
    # Of another number of images others would be the test images, and some of them training images there.
    assert {part: choice[part] for part in ("vindr_train", "rsna", "siim")} == {
        part: training[part] for part in ("vindr_train", "rsna", "siim")
    }


def test_commands_survive_a_shell() -> None:
    recipe = Recipe("spcl", ("a folder/labels.csv",), {"arch": "nano"}, {"loss": "clip"})
    words = shlex.split(recipe.command(2))
    assert words[words.index("--data") + 1] == "a folder/labels.csv"
    assert words[-2:] == ["--out", "spcl-seed2"]
    assert json.loads(json.dumps(recipe.options)) == {"loss": "clip"}
