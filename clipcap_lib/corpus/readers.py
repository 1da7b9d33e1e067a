"""From the caption files people have to one table of images and captions, split by image, with every defect counted."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NoReturn

import pandas as pd

from clipcap_lib.corpus.records import KARPATHY_SPLITS, NAMES, SUFFIXES, kind_by_content, read_records
from clipcap_lib.corpus.shards import CUT, NO_PICTURE, TWICE
from clipcap_lib.corpus.text_files import read_text
from clipcap_lib.images import SUFFIXES as PICTURES
from clipcap_lib.images import picture_fault
from clipcap_lib.published.clip_retrieval import read_embedding_folder

Format = Literal["auto", "flickr30k", "flickr30k-cn", "clipcap-chinese", "csv"]
Formats = dict[str, tuple[str, str]]
Problem = tuple[str, int, str, str]  # problem, count, action, examples
Pictures = Path | pd.DataFrame | None
PictureKeys = Callable[[list[str]], Sequence[Hashable]]  # for some paths: keys, equal where they show one picture

LINE_FORMATS: Formats = {
    # name: what a line looks like, its pattern; in the order in which they are tried
    "flickr30k-cn": (
        "<id>#zhb#<k> 词 词 词 or <id>#zhm#<k> 词:pos 词:pos",
        r"^(?P<image_id>[^\t#]+)#(?P<kind>zh[bm])#(?P<caption_id>[0-9]{1,9})(?:\s+(?P<caption>.*))?$",
    ),
    "flickr30k": (
        "<file>.jpg#<k><TAB><caption>",
        r"^(?P<image_id>[^\t#]+\.\w+)#(?P<caption_id>[0-9]{1,9})\t(?P<caption>.*)$",
    ),
    "clipcap-chinese": ("<id><TAB><caption>", r"^(?P<image_id>[^\t#]+)\t(?P<caption>[^\t]*)$"),
}
# What is scored comes from anywhere: ids of any form, with a number or without in one file, and captions with a tab.
SCORED_FORMATS = {name: form for name, form in LINE_FORMATS.items() if name not in ("flickr30k", "clipcap-chinese")} | {
    "id and caption": ("<id>[#<k>]<TAB><caption>", r"^(?P<image_id>[^\t]*?\S[^\t]*?)(?:#\d+)? *\t(?P<caption>.*)$")
}
POS_TAG = re.compile(r"(?<=.):[A-Za-z]\w*$")
CSV_EXPECTED = "a header with two columns (image or file_name; caption or text)"
IN_SHARDS = {CUT: "read up to there", NO_PICTURE: "ignored", TWICE: "first kept"}  # faults that are no picture's
UNSAFE_ID = r"(?:^|/)\.{0,2}(?:/|$)|^[A-Za-z]:|\\|\x00"  # '..', '.' or nothing between slashes; C:; backslash; NUL


@dataclass(frozen=True)
class Corpus:
    """A checked caption table, and what was found wrong on the way to it.

    `table`: image_id, image_path, caption_id, caption, picture, split; one row a caption. Images with the same
    `picture`, the smallest image_id among them, are one picture under several names.
    `problems`: problem, count, action, examples; one row a kind of problem, none for a flawless corpus.
    `named`: how many images the caption files name, whether they are there or not.
    """

    table: pd.DataFrame
    problems: pd.DataFrame
    named: int

    def describe(self) -> str:
        """How many captions and images there are, how many of those named were found, and how large each split is."""
        images = self.table.drop_duplicates(["image_id", "split"])
        found = images["image_id"].nunique()
        sizes = images["split"].value_counts()
        order = dict.fromkeys(["train", "dev", "test", *sorted(sizes.index)])
        splits = ", ".join(f"{name} {sizes[name]:,}" for name in order if name in sizes)
        counts = f"{len(self.table):,} captions of {found:,} pictures, {found:,} of {self.named:,} matched"
        return f"{counts}; {splits}"


# --- reading -------------------------------------------------------------------------------------------------------


def read_captions(path: Path, images: Pictures, format: Format = "auto") -> pd.DataFrame:
    """Read one caption file as it stands; neither images nor duplicates are checked, and there are no splits yet.

    Records (see `corpus.records`) are told by the file's suffix, lines by their form.
    Columns: image_id (the file name; `.jpg` is added to an id without suffix), image_path (empty where `images` is
    None: embeddings without pictures), caption_id (k within the image; counted up where the file has none), caption.
    A BOM, CRLF and blank lines are accepted.
    Raises ValueError with file, line, what was expected and what was found.
    """
    return _read(path, images, format)[0]


def _read(path: Path, images: Pictures, format: Format) -> tuple[pd.DataFrame, str]:
    """The table of a caption file, or of a folder of clip-retrieval, and its text where it is a file of lines."""
    if path.is_dir():
        return _as_table(path, images, read_embedding_folder(path).captions.rename(lambda row: row + 1)), ""
    if path.suffix in SUFFIXES:
        return _as_table(path, images, read_records(path, path.suffix).rename(lambda row: row + 1)), ""
    text = read_text(path)
    return _as_table(path, images, _parse(path, text, LINE_FORMATS, format)), text


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Image id and caption of all that a file to be scored holds, in its order, empty captions too.

    The content tells the format, whatever the file is called. Ids stay as they are, with `.jpg` or without.
    Raises ValueError as `read_captions` does.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    if kind := kind_by_content(path):
        fields = read_records(path, kind, to_score=True)
    else:
        fields = _parse(path, read_text(path), SCORED_FORMATS)
    return list(zip(fields["image_id"].str.strip(), _tidy(fields["caption"]), strict=True))


def _refuse(path: Path, line: int, expected: str, found: object) -> NoReturn:
    raise ValueError(f"{path}, line {line}: expected {expected}, found {found!r:.80}")


def _parse(path: Path, text: str, formats: Formats, format: Format = "auto") -> pd.DataFrame:
    text = text.removeprefix("\ufeff")
    lines = pd.Series(text.split("\n")).str.removesuffix("\r")
    lines.index += 1
    lines = lines[lines.str.strip() != ""]
    if lines.empty:
        raise ValueError(f"{path}: expected captions, found no line that is not blank")
    name = _detect(path, lines, formats) if format == "auto" else format
    return _read_csv(path, text, lines.index[0]) if name == "csv" else _read_lines(path, lines, name, formats)


def _detect(path: Path, lines: pd.Series, formats: Formats) -> str:
    first = lines.iloc[:1]
    if _csv_header(first.iloc[0]):
        return "csv"
    for name, (_, pattern) in formats.items():
        if first.str.match(pattern).all():
            return name
    tried = "; ".join([f"csv: {CSV_EXPECTED}", *(f"{name}: {shape}" for name, (shape, _) in formats.items())])
    _refuse(path, first.index[0], f"one of the formats ({tried})", first.iloc[0])


def _read_lines(path: Path, lines: pd.Series, name: str, formats: Formats) -> pd.DataFrame:
    if name not in formats:
        raise ValueError(f"caption format {name!r} is unknown; known: auto, csv, {', '.join(formats)}")
    expected, pattern = formats[name]
    fields = lines.str.extract(pattern)
    if (misfits := fields["image_id"].isna()).any():
        line = misfits.idxmax()
        _refuse(path, line, f"{name}: {expected}", lines[line])
    if name == "flickr30k-cn":
        both = zip(fields["caption"].fillna("").str.split(), fields["kind"] == "zhm", strict=True)
        fields["caption"] = ["".join(POS_TAG.sub("", w) if tagged else w for w in words) for words, tagged in both]
    return fields


def _csv_header(line: str) -> tuple[list[str], str] | None:
    delimiter = "\t" if "\t" in line else ","
    columns = [NAMES.get(cell.strip(' "').lower(), "") for cell in line.split(delimiter)]
    return (columns, delimiter) if sorted(columns) == ["caption", "image_id"] else None


def _read_csv(path: Path, text: str, first: int) -> pd.DataFrame:
    lines = text.split("\n")
    if (header := _csv_header(lines[first - 1].removesuffix("\r"))) is None:
        _refuse(path, first, CSV_EXPECTED, lines[first - 1])
    columns, delimiter = header
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    rows, line = {}, 1
    try:
        for row in reader:
            if len(row) == 2:
                rows[line] = row
            elif "".join(row).strip():
                raise csv.Error(f"{len(row)} columns; a caption that holds the delimiter needs quotes")
            line = reader.line_num + 1
    except csv.Error as error:
        _refuse(path, line, f"two columns of csv ({error})", lines[line - 1])
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype="str").iloc[1:]


def _as_table(path: Path, images: Pictures, fields: pd.DataFrame) -> pd.DataFrame:
    ids = fields["image_id"].str.strip()
    if (unsafe := ids.str.contains(UNSAFE_ID)).any():
        line = unsafe.idxmax()
        _refuse(path, line, "a plain path inside the images folder (relative, no '..', no backslash)", ids[line])
    table = pd.DataFrame({"image_id": file_names(ids)})
    table["image_path"] = _paths(table["image_id"], images)
    table["caption_id"] = fields.get("caption_id", table.groupby("image_id").cumcount()).astype("int64")
    table["caption"] = _tidy(fields["caption"])
    if "split" in fields:
        table["split"] = fields["split"]
    return table.reset_index(drop=True)


def _paths(ids: pd.Series, images: Pictures) -> pd.Series | str:
    if isinstance(images, pd.DataFrame):
        known = images.drop_duplicates("image_id").set_index("image_id")["image_path"]
        return ids.map(known).fillna("").astype("str")
    return f"{images}{os.sep}" + ids if images else ""


def _tidy(captions: pd.Series) -> pd.Series:
    return captions.str.strip().str.replace(r"[\r\n]+", " ", regex=True)


def file_names(ids: pd.Series) -> pd.Series:
    """Image ids as they stand in a corpus table: `.jpg` is added to an id without suffix."""
    return ids.where(ids.str.contains(r"\.[^/]*$"), ids + ".jpg")


# --- checking ------------------------------------------------------------------------------------------------------


def read_corpus(
    captions: Path | dict[str, Path] | None,
    images: Pictures,
    splits: Path | dict[str, int] | None,
    seed: int,
    format: Format = "auto",
    check_images: bool = True,
    picture_keys: PictureKeys | None = None,
) -> Corpus:
    """Read captions, leave out what cannot be trained on, say what that was, and split the rest by image.

    `captions`: one file, a file for each split by its name, or None for those in shards. `images`: a folder, what
    `shards.read_shards` found, or None where there are embeddings instead of pictures. `splits`: a csv
    `image_id,split`, or how many images each split takes (`train` takes the rest), or None: all train. Splits that the
    caption files themselves have (one file each, or Karpathy's) go before counts.
    `check_images` decodes every image. `picture_keys` gives a key for each of some paths, equal where they show one
    picture: counts then keep its names in one split, and it is said where the files' own splits do not.
    Raises FileNotFoundError for a missing file or folder, ValueError for a line that does not fit, for an image in two
    splits or none, and where no caption is left.
    """
    if isinstance(images, Path) and not images.is_dir():
        raise FileNotFoundError(f"the images folder {images} is not there")
    table, found = _read_all(captions, images, format)
    kept, more = _check_captions(table)
    found += more
    if images is not None:
        in_shards = isinstance(images, pd.DataFrame)
        kept, more = _check_shards(kept, images) if in_shards else _check_images(kept, images, check_images)
        found += more
    found += _check_repeats(kept)
    if kept.empty:
        files = ", ".join(map(str, captions.values())) if isinstance(captions, dict) else captions or "the shards"
        raise ValueError(f"{files}: of {len(table)} captions none is left\n{_problems(found).to_string(index=False)}")
    kept, more = _split(kept.assign(picture=_pictures(kept, picture_keys)), splits, seed)
    problems = _problems(found + more + _check_copies(kept))
    return Corpus(kept.reset_index(drop=True), problems, table["image_id"].nunique())


def _problems(found: list[Problem]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=["problem", "count", "action", "examples"])


def _read_all(
    captions: Path | dict[str, Path] | None, images: Pictures, format: Format
) -> tuple[pd.DataFrame, list[Problem]]:
    if captions is None:
        return _captions_in_shards(images), []
    if isinstance(captions, Path):
        table, text = _read(captions, images, format)
        return table, _check_text(captions, text)
    tables, found = [], []
    for split, path in captions.items():
        table, problems = _read_all(path, images, format)
        tables.append(table.assign(split=split))
        found += problems
    table = pd.concat(tables, ignore_index=True)
    splits_of = table.drop_duplicates(["image_id", "split"])
    if (twice := splits_of["image_id"].duplicated()).any():
        files = ", ".join(map(str, captions.values()))
        raise ValueError(f"{files}: images in two of these files: {_examples(splits_of['image_id'][twice])}")
    return table, found


def _captions_in_shards(pictures: pd.DataFrame) -> pd.DataFrame:
    if not (fields := pictures[pictures["caption"].notna() & (pictures["digest"] != "")]).size:
        raise ValueError("no picture in the shards has a caption beside it (.txt); name a captions_file")
    table = fields[["image_id", "image_path", "caption"]].assign(caption_id=0, caption=_tidy(fields["caption"]))
    return table[["image_id", "image_path", "caption_id", "caption"]].reset_index(drop=True)


def _note(problem: str, action: str, seen: Iterable[str], count: int = 0) -> list[Problem]:
    seen = list(seen)
    return [(problem, count or len(seen), action, _examples(seen))] if seen else []


def _examples(seen: Iterable[str]) -> str:
    return ", ".join(sorted(set(seen))[:3])


def _check_text(path: Path, text: str) -> list[Problem]:
    crlf = text.count("\r\n")
    found = _note("byte order mark", "accepted", [path.name] if text.startswith("\ufeff") else [])
    return found + _note("CRLF line end", "accepted", [path.name] if crlf else [], crlf)


def _check_captions(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    empty = table["caption"] == ""
    found = _note("empty caption", "excluded", _names(table[empty]))
    table = table[~empty]
    again = table.duplicated(["image_id", "caption_id"])
    return table[~again], found + _note("caption number used twice for an image", "first kept", _names(table[again]))


def _check_repeats(table: pd.DataFrame) -> list[Problem]:
    return _note("same caption twice for an image", "kept", _names(table[table.duplicated(["image_id", "caption"])]))


def _names(table: pd.DataFrame) -> pd.Series:
    return table["image_id"] + "#" + table["caption_id"].astype("str")


def _check_images(table: pd.DataFrame, folder: Path, decode: bool) -> tuple[pd.DataFrame, list[Problem]]:
    paths = table.drop_duplicates("image_id").set_index("image_id")["image_path"]
    there = {image_id for image_id, path in paths.items() if os.path.isfile(path)}
    absent = ~table["image_id"].isin(there)
    found = _note("caption of an image that is not there", "excluded", table["image_id"][absent])
    found += _note("image without caption", "ignored", _images_in(folder) - set(paths.index))
    faults = {i: fault for i in paths.index if decode and i in there and (fault := picture_fault(Path(paths[i])))}
    for kind in sorted(set(faults.values())):
        examples = [image_id for image_id, fault in faults.items() if fault == kind]
        found += _note(f"unreadable image: {kind}", "excluded with its captions", examples)
    return table[~absent & ~table["image_id"].isin(faults)], found


def _check_shards(table: pd.DataFrame, pictures: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    there, faulty = pictures["image_id"][pictures["digest"] != ""], pictures[pictures["fault"] != ""]
    damaged = faulty["image_id"][faulty["digest"] != ""]
    absent = ~table["image_id"].isin(there)
    found = _note("caption of an image that is not there", "excluded", table["image_id"][absent])
    found += _note("image without caption", "ignored", there[~there.isin(table["image_id"])])
    for fault, rows in faulty.groupby("fault"):
        found += _note(fault, IN_SHARDS.get(fault, "excluded with its captions"), rows["image_id"])
    return table[~absent & ~table["image_id"].isin(damaged)], found


def _images_in(folder: Path) -> set[str]:
    paths = (os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
    return {os.path.relpath(p, folder).replace(os.sep, "/") for p in paths if p.lower().endswith(PICTURES)}


def _pictures(table: pd.DataFrame, keys: PictureKeys | None) -> pd.Series:
    """For each caption the picture it is of: the smallest id among the images that show it."""
    if keys is None:
        return table["image_id"]
    paths = table.drop_duplicates("image_id").set_index("image_id")["image_path"].sort_index()
    first = paths.index.to_series().groupby(list(keys(paths.tolist()))).transform("first")
    return table["image_id"].map(first)


def _check_copies(table: pd.DataFrame) -> list[Problem]:
    images = table.drop_duplicates("image_id")
    copies = images[images["picture"].duplicated(keep=False)].sort_values("image_id")
    across = copies.groupby("picture")["split"].transform("nunique") > 1
    apart = copies.assign(image_id=copies["image_id"] + " (" + copies["split"] + ")")[across]
    found = _note("same picture under several names", "kept in one split", _as_equations(copies[~across]))
    return found + _note("same picture in several splits", "kept as the files say", _as_equations(apart))


def _as_equations(images: pd.DataFrame) -> list[str]:
    return images.groupby("picture")["image_id"].agg(" = ".join).tolist()


# --- splitting -----------------------------------------------------------------------------------------------------


def split_by_image(
    image_ids: Iterable[str], sizes: dict[str, int], seed: int, picture_of: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Assign every image to one split: `sizes` images to each named split, all others to `train`.

    Images of one picture, by `picture_of`, stay together; what does not fit into a split as a whole is passed over,
    and the split is smaller where nothing else is left. Depends on the set of ids, not on their order; an image more
    or less moves at most one image into or out of each split, where no picture has several.
    Raises ValueError where a size is negative, names `train`, or asks for more images than there are.
    """
    if "train" in sizes or min(sizes.values(), default=0) < 0:
        raise ValueError(f"split sizes are counts of images, and train takes the rest; found {sizes}")
    ids = sorted(set(image_ids))
    if (wanted := sum(sizes.values())) > len(ids):
        raise ValueError(f"the splits ask for {wanted} images ({sizes}), but there are {len(ids)}")
    groups: dict[str, list[str]] = {}
    for image_id in ids:
        groups.setdefault((picture_of or {}).get(image_id, image_id), []).append(image_id)
    order = sorted(groups.values(), key=lambda group: blake2b(f"{seed} {group[0]}".encode()).digest())
    found = dict.fromkeys(ids, "train")
    for name, size in sorted(sizes.items()):
        order = _fill(found, name, size, order)
    return found


def _fill(found: dict[str, str], name: str, size: int, order: list[list[str]]) -> list[list[str]]:
    """Put whole groups into a split while they fit; returns those that were passed over."""
    over = []
    for group in order:
        if len(group) > size:
            over.append(group)
        else:
            found.update(dict.fromkeys(group, name))
            size -= len(group)
    return over


def read_splits(path: Path) -> dict[str, str]:
    """Read a csv with the columns image_id and split; ValueError where an image has no split or two.

    Karpathy's `val` counts as dev and `restval` as train.
    """
    text = read_text(path).removeprefix("\ufeff")
    rows = pd.DataFrame(csv.DictReader(io.StringIO(text, newline="")), dtype="str").fillna("")
    if not {"image_id", "split"} <= set(rows.columns):
        _refuse(path, 1, "the columns image_id,split and a row per image", text.partition("\n")[0])
    rows = rows.assign(image_id=file_names(rows["image_id"])).drop_duplicates(["image_id", "split"])
    wrong = rows[rows["image_id"].duplicated() | (rows["split"] == "")]["image_id"]
    if len(wrong):
        raise ValueError(f"{path}: expected one split per image, {len(wrong)} have none or two: {_examples(wrong)}")
    return dict(zip(rows["image_id"], rows["split"].replace(KARPATHY_SPLITS), strict=True))


def _split(table: pd.DataFrame, splits: Path | dict[str, int] | None, seed: int) -> tuple[pd.DataFrame, list[Problem]]:
    if isinstance(splits, Path):
        return table.assign(split=_listed_splits(table["image_id"], splits)), []
    if "split" in table:
        return table, []  # the file's own splits: published numbers rest on them
    sizes, picture_of = splits or {}, dict(zip(table["image_id"], table["picture"], strict=True))
    found = split_by_image(picture_of, sizes, seed, picture_of)
    have = Counter(found.values())
    short = [f"{name}: {have[name]} of {size}" for name, size in sizes.items() if have[name] < size]
    problem = "split smaller than asked, for copies of one picture stay together"
    return table.assign(split=table["image_id"].map(found)), _note(problem, "accepted", short)


def _listed_splits(image_ids: pd.Series, splits: Path) -> pd.Series:
    found = read_splits(splits)
    if lacking := set(image_ids) - found.keys():
        raise ValueError(f"{splits}: {len(lacking)} images of the corpus have no split: {_examples(lacking)}")
    return image_ids.map(found)


def statistics(table: pd.DataFrame) -> pd.DataFrame:
    """Describe each split of a caption table.

    Columns: split, images, captions, captions_per_image, mean_characters, max_characters (of a caption, spaces
    included), distinct_characters (spaces excluded).
    """
    groups = table.assign(length=table["caption"].str.len()).groupby("split")
    counts = groups.agg(
        images=("image_id", "nunique"),
        captions=("caption", "size"),
        mean_characters=("length", "mean"),
        max_characters=("length", "max"),
        distinct_characters=("caption", lambda captions: len(set("".join("".join(captions).split())))),
    )
    counts.insert(2, "captions_per_image", counts["captions"] / counts["images"])
    return counts.reset_index()
