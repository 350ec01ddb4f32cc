"""Official downloads of labelled images on tiny folders, written by hand."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from support.layouts import text

H, W = 6, 5


def image(path: Path, value: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((H, W), value, np.uint8)).save(path)


def png(height: int, width: int) -> bytes:
    content = BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(content, "PNG")
    return content.getvalue()


def shenzhen(root: Path) -> Path:
    """NLM's layout: 12 normal and 12 tuberculous images, odd readings among the first four, masks of all but two."""
    base = root / "ChinaSet_AllFiles"
    odd = {
        1: "male 45yrs\nnormal",
        2: "femal 32yrs\nnormal",
        3: "female, 64days\r\nnormal\n",
        4: "Male,16month\nnormal",
    }
    for n in range(1, 25):
        name = f"CHNCXR_{n:04d}_{int(n > 12)}"
        image(base / f"CXR_png/{name}.png", n)
        text(base / f"ClinicalReadings/{name}.txt", odd.get(n, "female 50yrs\nbilateral PTB" if n > 12 else ""))
        if n > 2:
            image(base / f"mask/{name}_mask.png", 255 * (n % 2))
    (base / "CXR_png/Thumbs.db").write_bytes(b"x")
    return root


def shenzhen_on_kaggle(root: Path) -> Path:
    """The copy with a table: images in a folder in a folder, rows in another order."""
    rows = []
    for n in range(1, 25):
        name = f"CHNCXR_{n:04d}_{int(n > 12)}.png"
        image(root / f"images/images/{name}", n)
        rows.append(
            f"{name},{'Male' if n % 2 else 'Female'},{20 + n},{'PTB in the upper field' if n > 12 else 'normal'}"
        )
    text(root / "shenzhen_metadata.csv", "study_id,sex,age,findings", *reversed(rows))
    return root


def montgomery(root: Path) -> Path:
    """20 images, of which every second is tuberculous, with both masks; in the left one the first column is lung."""
    base = root / "MontgomerySet"
    for n in range(1, 21):
        name = f"MCUCXR_{n:04d}_{n % 2}"
        image(base / f"CXR_png/{name}.png", n)
        reading = f"Patient's Sex: {'FM'[n % 2]} \nPatient's Age: {20 + n:03d}Y\nnormal"
        text(base / f"ClinicalReadings/{name}.txt", reading)
        for side, column in (("leftMask", 4), ("rightMask", 0)):
            mask = np.zeros((H, W), np.uint8)
            mask[:, column] = 255
            (base / f"ManualMask/{side}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(base / f"ManualMask/{side}/{name}.png")
    return root


def covidx(root: Path, rows: dict[str, list[str]] | None = None, version: str = "9A") -> Path:
    """Lists of one version and the images that they name; three classes, unless ``rows`` says otherwise."""
    rows = rows or {
        "train": [
            *(f"r{n} r{n}.png {'normal' if n % 2 else 'pneumonia'} {'rsna' if n % 3 else 'rnsa'}" for n in range(12)),
            *(f"COVID {n} COVID({n}).png COVID-19 sirm" for n in range(4)),
            "5 000004.jpg COVID-19 cohen",
            "6 000004.png COVID-19 cohen",
        ],
        "test": ["r90 r90.png normal rsna", "t1 t1.jpeg COVID-19 ricord", "t2 t2.png pneumonia rsna"],
    }
    suffix = f"_COVIDx{version}" if version else ""
    for split, lines in rows.items():
        text(root / f"{split}{suffix}.txt", *lines)
        for line in lines:
            name = next(word for word in line.split() if word.endswith((".png", ".jpg", ".jpeg")))
            image(root / split / name)
    return root


CHEXCHONET = (
    "patient_id,cxr_filename,cxr_time_offset,cxr_year,cxr_path,cxr_pixel_spacing_x,cxr_pixel_spacing_y,age,sex,"
    "ivsd,lvpwd,lvidd,slvh,dlv,composite_slvh_dlv,heart_transplant,lung_transplant,pacemaker_or_icd"
)


def chexchonet(root: Path) -> Path:
    """30 images of 10 patients; the labels come in turn, one thickness is missing."""
    rows = []
    for n in range(30):
        slvh, dlv = n % 2, int(n % 3 == 0)
        image(root / f"images/x{n:02d}.jpg")
        echo = f"{'' if n == 4 else 1 + n / 100},1.1,{4 + n / 10}"
        rows.append(f"p{n // 3},x{n:02d}.jpg,0,2014,images/x{n:02d}.jpg,.1,.1,{40 + n}.0,{'FM'[n % 2]},{echo},"
                    f"{slvh},{dlv},{slvh | dlv},0,0,0")  # fmt: skip
    text(root / "metadata.csv", CHEXCHONET, *rows)
    return root


def chestx6(root: Path) -> Path:
    """Four, one and two images of each class, with the same names in all folders."""
    classes = ("Covid-19", "Emphysema", "Normal", "Pneumonia-Bacterial", "Pneumonia-Viral", "Tuberculosis")
    for split, count in (("train", 4), ("val", 1), ("test", 2)):
        for name in classes:
            for n in range(count):
                image(root / f"chest-xray/{split}/{name}/{n}.jpg")
    return root


def medmod_rows(labels: tuple[str, ...]) -> tuple[str, list[tuple[str, str]]]:
    """The header, and for each of 20 stays of 10 patients its image's name and its row without a path."""
    header = "subject_id,hadm_id,stay_id,intime," + ",".join(labels[25:] + labels[:25]) + ",cxr_path"
    rows = []
    for n in range(20):
        marks = ",".join(str((n + k) % 3 // 2) for k in range(28))
        rows.append((f"{n:08x}-a", f"{10_000_000 + n // 2},{20_000_000 + n},{30_000_000 + n}.0,2180-05-06,{marks}"))
    return header, rows


def medmod(root: Path, labels: tuple[str, ...]) -> Path:
    """A table per split as the scripts deal out rows: the two stays of most patients are on both sides."""
    header, rows = medmod_rows(labels)
    for split, part in (("train", rows[::2]), ("val", rows[1:6:2]), ("test", rows[7::2])):
        text(root / split / f"{split}.csv", header, *(f"{row},{name}.jpg" for name, row in part))
        for name, _ in part:
            image(root / split / f"{name}.jpg")
    return root


def medmod_whole(root: Path, labels: tuple[str, ...]) -> Path:
    """The whole table with paths of MIMIC-CXR-JPG."""
    header, rows = medmod_rows(labels)
    lines = []
    for name, row in rows:
        patient = row.partition(",")[0]
        path = f"p{patient[:2]}/p{patient}/s50000001/{name}.jpg"
        image(root / "files" / path)
        lines.append(f"{row},{path}")
    text(root / "medmod_final.csv", header, *lines)
    return root


def medmod_of_its_own(root: Path, labels: tuple[str, ...]) -> Path:
    """MedMod's lists of 20 stays of 10 patients, and MIMIC's tables: of each stay two AP images and a later PA one."""
    stays, images, lists = [], [], {"train": [], "val": [], "test": []}
    for n in range(20):
        patient, stay, day = 10_000_000 + n // 2, 30_000_000 + n, 1 + n
        split = "test" if n // 2 > 7 else "val" if n // 2 > 6 else "train"
        marks = ",".join(str((n + k) % 3 // 2) for k in range(3, 28))
        lists[split].append(f"{patient}_episode{1 + n % 2}_timeseries.csv,40.5,{stay},{marks}")
        deaths = ",".join(str((n + k) % 3 // 2) for k in range(3))
        stays.append(
            f"{patient},{20_000_000 + n},{stay},2180-05-{day:02d} 08:30:00,2180-05-{day:02d} 20:00:00,F,61,{deaths}"
        )
        times = {"a": "93000.5", "b": "193000", "c": "195900", "d": "213000"}  # the last one after the stay
        for k, (name, clock) in enumerate(times.items()):
            view = "PA" if name == "c" else "AP"
            images.append(f"{n:08x}-{name},{patient},{50_000_000 + 10 * n + k},{view},218005{day:02d},{clock}")
            image(root / f"files/p10/p{patient}/s{50_000_000 + 10 * n + k}/{n:08x}-{name}.jpg")
    for split, rows in lists.items():
        text(root / f"phenotyping/{split}_listfile.csv", "stay,period_length,stay_id," + ",".join(labels[:25]), *rows)
    header = "subject_id,hadm_id,stay_id,intime,outtime,gender,anchor_age," + ",".join(labels[25:])
    text(root / "root/all_stays.csv", header, *reversed(stays))
    header = "dicom_id,subject_id,study_id,ViewPosition,StudyDate,StudyTime"
    text(root / "mimic-cxr-2.0.0-metadata.csv", header, *images)
    labelled = [f"{50_000_000 + 10 * n + k}" for n in range(20) for k in range(4) if (n, k) != (5, 1)]
    text(root / "mimic-cxr-2.0.0-chexpert.csv", "subject_id,study_id", *(f"1,{study}" for study in labelled))
    return root


def iu_xray_on_kaggle(root: Path) -> Path:
    """Ten reports (one without text, one not indexed), two images each, and a file that no row names."""
    reports, shots = [], []
    mesh = ["normal", "Cardiomegaly/mild;Opacity/lung/base/left", "No Indexing", "Catheters, Indwelling/right"]
    for uid in range(1, 11):
        said = "," if uid == 4 else f'"The heart,\n of XXXX {uid}.",Fine.'
        reports.append(f'{uid},"{mesh[uid % 4]}",x,Xray Chest,XXXX,None.,{said}')
        for k, view in enumerate(("Frontal", "Lateral")):
            name = f"{uid}_IM-{uid:04d}-{k}001.dcm.png"
            image(root / f"images/images_normalized/{name}")
            shots.append(f"{uid},{name},{view}")
    image(root / "images/images_normalized/99_IM-0001-1001.dcm.png")
    text(root / "indiana_reports.csv", "uid,MeSH,Problems,image,indication,comparison,findings,impression", *reports)
    text(root / "indiana_projections.csv", "uid,filename,projection", *reversed(shots))
    return root


def iu_xray_of_nlm(root: Path) -> Path:
    """The same ten reports as XML, with NLM's names of the images, and one report without an image."""
    mesh = [
        ["normal"],
        ["Cardiomegaly/mild", "Opacity/lung/base/left"],
        ["No Indexing"],
        ["Catheters, Indwelling/right"],
    ]
    for uid in range(1, 12):
        names = [f"CXR{uid}_{'1_' if uid == 1 else ''}IM-{uid:04d}-{k}001" for k in range(2)] if uid < 11 else []
        for name in names:
            image(root / f"NLMCXR_png/{name}.png")
        said = ("", "") if uid == 4 else (f"The heart,\n of XXXX {uid}.", "Fine.")
        parts = "".join(f'<AbstractText Label="{label}">{words}</AbstractText>' for label, words in zip(
            ("COMPARISON", "FINDINGS", "IMPRESSION"), ("None.", *said), strict=True))  # fmt: skip
        terms = "".join(f"<major>{term}</major>" for term in mesh[uid % 4])
        pictures = "".join(f'<parentImage id="{name}"><caption>PA</caption></parentImage>' for name in names)
        text(
            root / f"ecgen-radiology/{uid}.xml",
            '<?xml version="1.0" encoding="utf-8"?>',
            f'<eCitation><uId id="CXR{uid}"/><MedlineCitation><Article><Abstract>'
            f"{parts}</Abstract></Article></MedlineCitation><MeSH>{terms}<automatic>lung</automatic></MeSH>{pictures}"
            "</eCitation>",
        )
    return root


def ranzcr_clip(root: Path, labels: tuple[str, ...]) -> Path:
    """24 images of 12 patients, one image without a row, and a test image."""
    rows = []
    for n in range(24):
        image(root / f"train/1.2.826.{n}.jpg")
        rows.append(f"1.2.826.{n}," + ",".join(str(int((n + k) % 4 == 0)) for k in range(11)) + f",{n // 2:09x}")
    image(root / "train/1.2.826.99.jpg")
    image(root / "test/1.2.826.100.jpg")
    text(root / "train.csv", ",".join(["StudyInstanceUID", *labels, "PatientID"]), *rows)
    text(root / "train_annotations.csv", "StudyInstanceUID,label,data", '1.2.826.0,CVC - Normal,"[[1, 2], [3, 4]]"')
    return root


def cxr_lt(root: Path, labels: tuple[str, ...]) -> Path:
    """24 images of 12 patients whose identifiers have 38 digits, in folders as PadChest's; one row has no file."""
    rows = []
    for n in range(24):
        patient = 313572750430997347502932654319389875966 + n // 2
        image(root / f"images/{n % 3}/2168_{n:02d}.png")
        rows.append(f"2168_{n:02d}.png,20150101,{patient}," + ",".join(str(int((n + k) % 5 == 0)) for k in range(30)))
    rows.append("2168_99.png,20150101,1," + ",".join("0" * 30))
    text(root / "CXRLT_2026_training.csv", ",".join(["ImageID", "StudyDate_DICOM", "PatientID", *labels]), *rows)
    return root
