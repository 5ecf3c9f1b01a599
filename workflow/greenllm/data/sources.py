"""Sources of data: made here, files, downloads, the Hugging Face hub. Each yields its parts and a card."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from greenllm import __version__
from greenllm.config.models import EmbeddedData, FileData, GraphData, HarnessData, HubData, Mapped, UrlData
from greenllm.data import formats, hub
from greenllm.data.arrow_rows import rows_of
from greenllm.data.conversations import IMAGE_COLUMNS, TOOL_COLUMNS, ConversationForm, as_messages, form_of
from greenllm.data.download import download
from greenllm.data.local_files import task_files
from greenllm.data.raw_rows import OPTIONAL, Raw, check_columns, mapped
from greenllm.documents.card import BadRow
from greenllm.documents.harness import HarnessSelection
from greenllm.errors import UserError, quoted, reason
from greenllm.files import sha256_of
from greenllm.graph.reading import read_graph
from greenllm.tasks import Task, graph_tasks
from greenllm.tasks.task import AsksGraphs


@dataclass(frozen=True)
class Part:
    """The training rows of a source, or its test rows if it has some."""

    name: str  # train | test
    file: str  # its name in messages and card: the configured path or address, or a split on the hub
    rows: Iterator[dict[str, Any] | BadRow]
    facts: Mapping[str, Any] = field(default_factory=dict)  # for the card: sha256 and bytes of the file


class Source(Protocol):
    """One kind of source."""

    card: dict[str, Any]  # origin, licence and all else known before any row is read

    def parts(self) -> Iterator[Part]:
        """Yield the training part, then the test part if there is one; rows are read one at a time."""


def open_source(task: Task, settings: Any, base: Path, downloads: Path) -> Source:
    """Return the source that `settings` describe.

    Relative paths of files are relative to `base`; unfinished downloads are kept in `downloads`.
    """
    match settings:
        case EmbeddedData():
            return Embedded(task, settings)
        case FileData():
            return Files(task, settings, base)
        case UrlData():
            return Urls(task, settings, downloads)
        case HubData():
            return Hub(task, settings)
        case GraphData():
            return Questions(task, settings, base)
        case HarnessData():
            return HarnessTasks(task, settings, base)
        case _:
            raise TypeError(f"no source for {type(settings).__name__}")


class Embedded:
    """Rows that the task generates."""

    def __init__(self, task: Task, settings: EmbeddedData) -> None:
        self._task, self._settings = task, settings
        self.card: dict[str, Any] = {
            "origin": "embedded",
            "generator": task.origin.generator,
            "generator_version": f"greenllm {__version__}",
            "licence": task.origin.licence,
            "near_duplicates": task.origin.near_duplicates,
            "settings": settings.model_dump(),
        }

    def parts(self) -> Iterator[Part]:
        """Yield the rows as one part, or as two if the task itself holds some out."""
        return _made_parts("embedded", self._task.rows(self._settings))


class Questions:
    """Questions about the user's knowledge graph."""

    def __init__(self, task: Task, settings: GraphData, base: Path) -> None:
        if not isinstance(task, AsksGraphs):
            raise UserError(f"data.source: graph is only for the tasks {graph_tasks()}, not for {task.name}")
        self._task: AsksGraphs = task
        self._settings = settings
        path = base / Path(settings.file).expanduser()
        self._graph = read_graph(path, settings.file, settings.format, settings.languages)
        self.card: dict[str, Any] = {
            "origin": settings.origin or "local file",
            "licence": settings.licence,
            "near_duplicates": task.origin.near_duplicates,
            "graph": {
                "file": settings.file,
                "sha256": sha256_of(path),
                "triples": len(self._graph.triples),
                "entities": len(self._graph.entities),
            },
            "settings": settings.model_dump(),
        }

    def parts(self) -> Iterator[Part]:
        """Yield the questions for training, then those for testing."""
        return _made_parts(self._settings.file, self._task.rows_about(self._graph, self._settings))


class HarnessTasks:
    """Tasks of lm-evaluation-harness, with their own data: all rows are test rows."""

    def __init__(self, task: Task, settings: HarnessData, base: Path) -> None:
        from greenllm.harness.loading import load_tasks, require_harness

        if not task.reads(settings):
            raise UserError(f"data.source: harness is only for the task harness, not for {task.name}")
        require_harness()
        from greenllm.harness.metrics import check_tasks

        folder = None if settings.include_path is None else (base / Path(settings.include_path).expanduser()).absolute()
        if folder is not None and not folder.is_dir():
            raise UserError(f"data.include_path: no folder {str(folder)!r}; expected one with task files")
        self._settings = settings
        self._tasks = load_tasks(settings.tasks, settings.num_fewshot, folder)
        check_tasks(self._tasks, settings.metric)
        self.card: dict[str, Any] = {
            "origin": "tasks of lm-evaluation-harness",
            "generator": f"lm_eval {version('lm_eval')}",
            "licence": None,
            "near_duplicates": task.origin.near_duplicates,
            "settings": settings.model_dump(),
        }
        if folder is not None:
            own = task_files(folder)
            self.card["task_files"] = {file.relative_to(folder).as_posix(): sha256_of(file) for file in own}
        self.selection = HarnessSelection(
            tasks=settings.tasks,
            num_fewshot=settings.num_fewshot,
            include_path=None if folder is None else str(folder),
            metric=settings.metric,
        )

    def parts(self) -> Iterator[Part]:
        """Yield the documents of all tasks as test rows."""
        from greenllm.harness.questions import questions

        return _made_parts("harness", questions(self._tasks, self._settings.limit))


class Files:
    """Files on this machine."""

    def __init__(self, task: Task, settings: FileData, base: Path) -> None:
        self._task, self._settings, self._base = task, settings, base
        _columns(task, settings)  # wrong names are reported before any file is read
        self.card: dict[str, Any] = {"origin": settings.origin or "local files", "licence": settings.licence}

    def parts(self) -> Iterator[Part]:
        """Yield a part per file."""
        for name, file in (("train", self._settings.train), ("test", self._settings.test)):
            if file is not None:
                yield _file_part(name, file, self._base / Path(file).expanduser(), self._task, self._settings)


class Urls:
    """Files to download, each with its expected SHA-256."""

    def __init__(self, task: Task, settings: UrlData, downloads: Path) -> None:
        self._task, self._settings, self._downloads = task, settings, downloads
        _columns(task, settings)  # wrong names are reported before any file is downloaded
        self.card: dict[str, Any] = {"origin": settings.origin or settings.train.url, "licence": settings.licence}

    def parts(self) -> Iterator[Part]:
        """Download the files and yield a part per file."""
        for name, file in (("train", self._settings.train), ("test", self._settings.test)):
            if file is not None:
                path = download(file.url, file.sha256, self._downloads)
                yield _file_part(name, file.url, path, self._task, self._settings)


class Hub:
    """A data set on the Hugging Face hub; code in it is never run."""

    def __init__(self, task: Task, settings: HubData) -> None:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import OfflineModeIsEnabled

        self._task, self._settings = task, settings
        licence, revision = settings.licence, settings.revision
        # The hub is asked first, since without a network `datasets` retries for half a minute.
        with hub.one_line_errors("data set", settings.id, settings.revision):
            try:
                info = HfApi().dataset_info(settings.id, revision=settings.revision, timeout=20)
                licence = licence or hub.licence(info.card_data)
                revision = info.sha or revision
            except OfflineModeIsEnabled:
                pass  # the local cache is used instead
        self._revision = revision
        self.card: dict[str, Any] = {
            "origin": settings.origin or f"https://huggingface.co/datasets/{settings.id}",
            "licence": licence,
            "id": settings.id,
            "revision": revision,
            "subset": settings.subset,
        }

    def parts(self) -> Iterator[Part]:
        """Yield a part per split."""
        for name, split in (("train", self._settings.train), ("test", self._settings.test)):
            if split is not None:
                file = f"{self._settings.id}[{split}]"
                data = self._load(split)
                columns, form = _read_columns(self._task, self._settings, data.column_names, file)
                check_columns(file, data.column_names, columns)
                yield Part(name, file, _mapped(_hub_rows(data, columns), file, columns, "utf-8", form))

    def _load(self, split: str) -> Any:
        import datasets

        settings = self._settings
        with hub.one_line_errors("data set", settings.id, settings.revision):
            try:
                data = datasets.load_dataset(settings.id, settings.subset, split=split, revision=self._revision)
            # No such subset or split, no data files, files that can't be read, or a script instead of data.
            except (datasets.exceptions.DatasetsError, ValueError, RuntimeError) as error:
                raise UserError(f"hub data set {settings.id!r}: {reason(error)}") from None
        return data.flatten()  # a nested column becomes `outer.inner`


def _hub_rows(data: Any, columns: Mapping[str, str]) -> Iterator[Raw]:
    import datasets

    data = data.select_columns(list(dict.fromkeys(columns.values())))
    # A class label is stored as a number; its text is the label's name, and -1 means none.
    labels = {name: kind for name, kind in data.features.items() if isinstance(kind, datasets.ClassLabel)}
    number = 0
    for table in data.with_format("arrow").iter(batch_size=formats.BATCH):
        for batch in table.to_batches():
            for values in rows_of(batch):
                for name, label in labels.items():
                    if values[name] is not None:
                        values[name] = None if values[name] == "-1" else label.int2str(int(values[name]))
                number += 1
                yield Raw(number, values)


def _made_parts(file: str, made: Iterable[dict[str, str]]) -> Iterator[Part]:
    rows = [{"row": number, **row} for number, row in enumerate(made, 1)]
    for name in ("train", "test"):
        part = [row for row in rows if row.get("split", "train") == name]
        if part:
            yield Part(name, file, iter(part), _linking(part))


def _linking(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how well the rows' questions were linked to a graph's entities; empty if they were not linked."""
    linked = [row["linked"] for row in rows if "linked" in row]
    ambiguous = sum(row.get("ambiguous") == "yes" for row in rows)
    share = linked.count("yes") / len(linked) if linked else 0
    return {"linking": {"right": share, "ambiguous": ambiguous}} if linked else {}


def _file_part(name: str, file: str, path: Path, task: Task, settings: Mapped) -> Part:
    how = (settings.format, settings.encoding)
    names = formats.column_names(path, file, *how, settings.separator) if task.has_conversations else []
    columns, form = _read_columns(task, settings, names, file)
    table = formats.read(path, file, *how, columns, settings.separator)
    facts = {"sha256": sha256_of(path), "bytes": path.stat().st_size, **table.facts}
    return Part(name, file, _mapped(table, file, columns, settings.encoding, form), facts)


def _read_columns(
    task: Task, settings: Mapped, names: Sequence[str], file: str
) -> tuple[dict[str, str], ConversationForm | None]:
    """Return our column → the file's, of the columns to read, and the form of its conversations if the task has some.

    `names` are those of the file's columns.
    """
    columns = _columns(task, settings)
    if not task.has_conversations:
        return columns, None
    form = form_of(names, {str(ours): theirs for ours, theirs in settings.columns.items()}, file, settings.encoding)
    refused = {name: name for name in (*TOOL_COLUMNS, *IMAGE_COLUMNS) if name in names}
    return {**form.columns, **refused, **{ours: theirs for ours, theirs in columns.items() if ours in OPTIONAL}}, form


def _mapped(
    raws: Iterable[Raw], file: str, columns: Mapping[str, str], encoding: str, form: ConversationForm | None
) -> Iterator[dict[str, Any] | BadRow]:
    if form is None:
        return mapped(raws, file, columns, encoding)
    beside = {ours: theirs for ours, theirs in columns.items() if ours in OPTIONAL}
    return mapped(as_messages(raws, form), file, {"messages": "messages", **beside}, encoding)


def _columns(task: Task, settings: Mapped) -> dict[str, str]:
    """Return our column → the source's, for the task's columns, and for `OPTIONAL` ones that are configured."""
    columns = {ours: settings.columns.get(ours, ours) for ours in task.columns}  # type: ignore[call-overload]
    if len(set(columns.values())) < len(columns):
        raise UserError(
            f"data.columns: {' and '.join(columns)} are both read from the column {quoted(columns[task.columns[0]])}; "
            "expected a different one for each"
        )
    named = {ours: theirs for ours, theirs in settings.columns.items() if ours in OPTIONAL}
    return columns | named
