"""Labels of several datasets are one by meaning."""

import itertools

from cxrbench.data.vocabulary.tables import meanings
from cxrbench.data.vocabulary.united import united


def labels(dataset: str) -> list[str]:
    return [label for name, label in meanings() if name == dataset]


def test_labels_of_other_names_are_one_and_keep_the_first_set_s_names() -> None:
    both = united([("vindr", labels("vindr")), ("nih", labels("nih")), ("chexpert", labels("chexpert"))])
    assert both.own["nih"]["Pleural effusion"] == "Effusion"
    assert both.own["chexpert"]["Pleural effusion"] == "Pleural Effusion"
    assert both.own["chexpert"]["Edema"] == "Edema"
    assert list(both.labels) == [label for label in labels("vindr") if label in both.labels]
    assert any("Pleural effusion is Effusion of nih and Pleural Effusion of chexpert" in line for line in both.told())


def test_what_is_outside_is_nobody_else_s_even_under_one_name() -> None:
    both = united([("vindr", labels("vindr")), ("vindr-pcxr", labels("vindr-pcxr"))])
    assert "Other lesion" in labels("vindr-pcxr")
    assert "Other lesion" not in both.labels
    assert united([("covidx", ["Pneumonia"]), ("nih", ["Pneumonia"])]).labels == ()


def test_a_dataset_of_one_s_own_is_matched_by_the_names_that_others_have_for_it() -> None:
    both = united([("clinic", ["Effusion", "Pneumonia", "Our own"]), ("chexpert", labels("chexpert"))])
    assert both.own["chexpert"] == {"Effusion": "Pleural Effusion", "Pneumonia": "Pneumonia"}
    assert united([("here", ["a", "B"]), ("there", ["b", "a"])]).own["there"] == {"a": "a"}


def test_of_several_that_mean_the_same_none_is_guessed() -> None:
    both = united([("clinic", ["Effusion", "Pleural Effusion"]), ("mimic", labels("mimic"))])
    assert both.own["mimic"] == {"Pleural Effusion": "Pleural Effusion"}
    neither = united([("clinic", ["Effusion", "Pleural effusion"]), ("mimic", ["Pleural Effusion"])])
    assert neither.labels == ()
    assert any("mean the same: only labels of one name were united" in line for line in neither.told())


def test_which_labels_are_one_does_not_depend_on_who_is_named_first() -> None:
    names = ("vindr", "nih", "chexpert", "vindr-pcxr", "iu-xray", "cxr-lt", "rsna", "lungs")
    for one, other in itertools.combinations(names, 2):
        there, back = (united([(a, labels(a)), (b, labels(b))]) for a, b in ((one, other), (other, one)))
        assert {v: k for k, v in there.own[other].items()} == back.own[one]
