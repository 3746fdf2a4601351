"""``fastmap mine``: questions to result files."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmap.errors import InputError

if TYPE_CHECKING:
    from fastmap.mine import Source, Table

DEFAULT_LIMIT = 20
#: Options of some questions only, and these; the first is that for rows.
ROWS = "rows of mappings"
GO_WITH = {
    "where": (ROWS, "by", "pareto", "rank", "common"),
    "columns": (ROWS, "pareto"),
    "sort": (ROWS,),
    "descending": (ROWS,),
    "distinct": (ROWS,),
    "limit": (ROWS, "by", "pareto", "near", "common", "diff"),
    "aggregates": ("by",),
    "of": ("rank", "near", "common", "diff"),
    "export": (ROWS, "by", "pareto", "near", "common", "diff"),
    "arch": (ROWS, "by", "pareto", "rank", "near", "common", "names", "id"),
    "layer": (ROWS, "by", "pareto", "rank", "near", "common", "names", "id"),
    "kind": (ROWS, "by", "pareto", "rank", "near", "common", "names", "id"),
}
QUESTIONS = ("names", "by", "pareto", "rank", "near", "common", "diff", "id", "check")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="result files")
    which = parser.add_argument_group("which rows")
    which.add_argument("--arch", metavar="NAME", help="only of this architecture")
    which.add_argument("--layer", metavar="NAME", help="only of this layer")
    which.add_argument("--kind", metavar="WHAT", help="mappings, sample or points (default: the first that there is)")
    which.add_argument("--where", metavar="EXPR", help="like 'edp_pj_ns < 1.1 * best and stationary == \"W\"'")
    which.add_argument("--columns", nargs="+", metavar="NAME", help="what to show of them; --names lists what there is")
    which.add_argument("--sort", metavar="EXPR", help="by this number, the least first")
    which.add_argument("--descending", action="store_true", help="the largest first")
    which.add_argument("--distinct", action="store_true", help="only the first row of each energy and latency")
    which.add_argument("--limit", type=int, metavar="N", help=f"at most so many (default: {DEFAULT_LIMIT})")
    what = parser.add_argument_group("another question (one of them)").add_mutually_exclusive_group()
    what.add_argument("--names", action="store_true", help="results in the files, and their columns")
    what.add_argument("--by", nargs="+", metavar="NAME", help="group by spatial, dataflow, stationary, layer, D1.K ...")
    what.add_argument("--pareto", nargs="*", metavar="EXPR", help="front of all rows (default: energy_pj latency_ns)")
    what.add_argument("--rank", metavar="VALUE|FILE", help="where a value, or a mapping (file), lies among all (--of)")
    what.add_argument("--near", metavar="SHARE", help="mappings at most so much above the best (--of)")
    what.add_argument("--common", metavar="SHARE", help="what this share of the best has in common (--of)")
    what.add_argument("--diff", action="store_true", help="how the best mappings of two files differ, layer by layer")
    what.add_argument("--id", nargs=3, type=int, metavar=("S", "R", "A"), help="rebuild a mapping and cost it anew")
    what.add_argument("--check", action="store_true", help="is everything there, and does it agree with itself?")
    parser.add_argument("--aggregates", nargs="+", metavar="WHAT", help="of --by: count, mappings, min:X, q99:X ...")
    parser.add_argument(
        "--of", metavar="EXPR", help="edp_pj_ns (default), energy_pj ...; with --diff edp, energy, latency"
    )
    parser.add_argument("--export", metavar="FILE", help="write the answer there: .csv or .parquet")
    parser.add_argument("--force", action="store_true", help="overwrite it")


def run(options: argparse.Namespace) -> int:
    """Answer one question."""
    from fastmap import mine

    _check(options)
    if options.check:
        return _check_files(options)
    sources = mine.open_sources(options.files, options.arch, options.layer, options.kind)
    for warning in mine.warnings(sources):
        print(f"fastmap: warning: {warning}", file=sys.stderr)
    if options.diff:
        first, second = options.files
        _answer(options, mine.diff(first, second, options.of or "edp").rows(slice(0, options.limit)))
        return 0
    of = options.of or "edp_pj_ns"
    if options.names:
        return _names(options, sources)
    if options.id is not None:
        return _mapping(options, _single(sources, "--id"))
    if options.rank is not None:
        return _rank(options, sources, of)
    if options.by is not None:
        aggregates = {} if options.aggregates is None else {"aggregates": options.aggregates}
        table = mine.group(sources, options.by, where=options.where, **aggregates).rows(slice(0, options.limit))
    elif options.pareto is not None:
        axes = options.pareto or ["energy_pj", "latency_ns"]
        if len(axes) != 2:
            raise InputError(f"--pareto needs two expressions, not {len(axes)}")
        table = mine.pareto(sources, axes[0], axes[1], options.where, options.columns).rows(slice(0, options.limit))
    elif options.near is not None:
        table = mine.near(sources, of, _share("--near", options.near), options.limit or DEFAULT_LIMIT)
    elif options.common is not None:
        table = mine.common(_single(sources, "--common"), _share("--common", options.common), of, options.where)
        table = table.rows(slice(0, options.limit or DEFAULT_LIMIT))
    elif options.export is not None and options.sort is None and options.limit is None:
        rows = mine.export(mine.blocks(sources, options.columns, options.where), options.export, options.force)
        _exported(options, rows)
        return 0
    else:
        limit = options.limit or DEFAULT_LIMIT
        table = mine.select(
            sources, options.columns, options.where, options.sort, options.descending, limit, options.distinct
        )
    _answer(options, table)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    given = vars(options)
    question = next((name for name in QUESTIONS if given[name] not in (None, False)), ROWS)
    for name, questions in GO_WITH.items():
        if given[name] not in (None, False) and question not in questions:
            raise InputError(f"--{name} does not go with {question if question == ROWS else f'--{question}'}")
    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit must be a positive integer, not {options.limit}")
    if options.diff and len(options.files) != 2:
        raise InputError(f"--diff needs two files, not {len(options.files)}")
    if options.descending and options.sort is None:
        raise InputError("--descending needs --sort")


def _share(option: str, text: str) -> float:
    """A share, written as 0.01 or 1%."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise InputError(f"{option} must be a share such as 1% or 0.01, not {text!r}") from None


def _single(sources: list[Source], option: str) -> Source:
    if len(sources) > 1:
        from fastmap._spec import listed

        raise InputError(
            f"{option} is of one result; say which with --arch and --layer ({listed(s.name for s in sources)})"
        )
    return sources[0]


def _check_files(options: argparse.Namespace) -> int:
    from fastmap.check import check_file
    from fastmap.store import contents

    found = {file: check_file(file) for file in options.files}
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        for file, problems in found.items():
            for problem in problems:
                print(f"{file}: {problem}")
            if not problems:
                found_there = len(contents(file))
                print(f"{file}: sound; {found_there} result{'s' if found_there > 1 else ''}")
    return 2 if any(found.values()) else 0


def _names(options: argparse.Namespace, sources: list[Source]) -> int:
    results = [
        {
            "file": str(source.file),
            "architecture": source.architecture,
            "layer": source.layer,
            "kind": source.kind,
            "rows": source.rows,
            "stored": list(source.stored),
            "columns": source.columns.names,
        }
        for source in sources
    ]
    if options.json:
        print(json.dumps(results, indent=1))
        return 0
    from fastmap import text

    header = ("file", "architecture", "layer", "kind", "rows")
    print(
        text.table(
            header, [[f"{each[name]:,}" if name == "rows" else str(each[name]) for name in header] for each in results]
        )
    )
    print(f"\ncolumns: {', '.join(sources[0].columns.short_names)}")
    return 0


def _mapping(options: argparse.Namespace, source: Source) -> int:
    from fastmap import mine, text

    found = mine.evaluation(source, options.id)
    print(json.dumps(found.to_dict(), indent=1) if options.json else text.explain(found, source.result.architecture))
    return 0


def _rank(options: argparse.Namespace, sources: list[Source], of: str) -> int:
    from dataclasses import asdict

    from fastmap import mine, text
    from fastmap.evaluation import evaluate
    from fastmap.loading import load_mapping

    try:
        value: float | None = float(options.rank)
    except ValueError:
        value = None
    ranks = []
    for source in sources:
        number = value
        if number is None:
            cost = evaluate(
                source.result.layer, source.result.architecture, load_mapping(options.rank), source.result.cost_model
            )
            known = {"energy_pj": cost.energy_pj.total, "latency_cycles": cost.latency_cycles.total,
                     "latency_ns": cost.latency_ns, "edp_pj_ns": cost.edp_pj_ns}  # fmt: skip
            if of not in known:
                raise InputError(f"--rank of a mapping goes with --of {', '.join(known)}, not {of}")
            number = known[of]
        ranks.append(mine.rank(source, number, of, options.where))
    if options.json:
        print(json.dumps([asdict(each) for each in ranks], indent=1))
        return 0
    for each in ranks:
        worse = 1.0 - each.better - each.equal
        print(
            f"{each.source}: {each.of} = {each.value:.6g} is worse than {text.percent(each.better)} of "
            f"{each.mappings:,} mappings, as good as {text.percent(each.equal)}, better than {text.percent(worse)} "
            f"(best {each.best:.6g}, median {each.median:.6g}, worst {each.worst:.6g})"
        )
    return 0


def _answer(options: argparse.Namespace, table: Table) -> None:
    from fastmap import mine, text

    if options.export is not None:
        _exported(options, mine.export([table], options.export, options.force))
    elif options.json:
        print(json.dumps(table.records(), indent=1))
    else:
        names = [f"<{name}" if _is_text(values) else name for name, values in table.plain().items()]
        print(text.table(names, [[_shown(value) for value in row.values()] for row in table.records()]))


def _exported(options: argparse.Namespace, rows: int) -> None:
    if options.json:
        print(json.dumps({"file": options.export, "rows": rows}))
    else:
        print(f"{rows:,} row{'s' if rows != 1 else ''} in {Path(options.export)}")


def _is_text(values: Any) -> bool:
    return values.dtype.kind in "OU"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}" if abs(value) < 1e6 else f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
