"""Commands about the macro model itself: against published chips, at its best, and what memories cost."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmap.errors import InputError

if TYPE_CHECKING:
    from fastmap.technology import Technology

#: Where `--save` puts its files, if no folder is named.
RESULTS = "results"


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands; `command(name, run, help)` makes the parser of one."""
    validate = command("validate", _validate, "compare the macro model with published chips")
    validate.add_argument(
        "chip", nargs="*", metavar="ARCH", help="architectures with a section chip (default: the seven)"
    )
    validate.add_argument("--further", action="store_true", help="also chips that the model was not fitted on")
    _save(validate)

    peak = command("peak", _peak, "what analog and digital macros do at best, alone and with buffers")
    peak.add_argument(
        "--kind", nargs="+", default=["analog", "digital"], metavar="KIND", help="analog, digital, or both"
    )
    peak.add_argument(
        "--size", nargs="+", type=int, metavar="N", help="cells a side (default: 32 to 1024, the paper's)"
    )
    peak.add_argument(
        "--bits", nargs="+", type=int, default=[8], metavar="N", help="of inputs and weights (default: 8)"
    )
    peak.add_argument(
        "--bits-per-cycle", nargs="+", type=int, default=[], metavar="N", help="default: 2 if analog, 1 if digital"
    )
    peak.add_argument(
        "--adc-bits", nargs="+", type=float, default=[], metavar="N", help="default: bits a cycle + log2(rows) / 2"
    )
    peak.add_argument("--banks", type=int, default=1, metavar="N", help="macros side by side (default: 1)")
    peak.add_argument(
        "--group-depth", type=int, default=1, metavar="N", help="weights behind each multiplier (default: 1)"
    )
    peak.add_argument(
        "--input-toggle-rate", type=float, default=1.0, metavar="SHARE", help="of input bits (default: 1)"
    )
    peak.add_argument("--weight-density", type=float, default=1.0, metavar="SHARE", help="of weight bits (default: 1)")
    macro_options(peak, "none")
    peak.add_argument("--memory", default="cacti_28nm", metavar="SOURCE", help="costs of cells and buffer, see memory")
    peak.add_argument("--variant", default="paper", metavar="MODEL", help="paper (default), zigzag-imc or zigzag")
    technology_options(peak)
    _save(peak)

    compare = command("compare", _compare, "analog against digital macros on networks, every layer mapped optimally")
    compare.add_argument(
        "workload", nargs="*", metavar="WORKLOAD", help="zoo names or files (default: the four of MLPerf Tiny)"
    )
    compare.add_argument(
        "--kind", nargs="+", default=["analog", "digital"], metavar="KIND", help="analog, digital, or both"
    )
    compare.add_argument(
        "--size", nargs="+", type=int, metavar="N", help="cells a side of a macro (default: 32 to 1024, the paper's)"
    )
    compare.add_argument(
        "--macros", nargs="+", type=int, default=[1], metavar="N", help="macros side by side (default: 1)"
    )
    compare.add_argument(
        "--equal",
        nargs="+",
        default=[],
        metavar="WHAT=N",
        help="also as many macros as make the capacity, or area, of one macro of N x N cells: capacity=256, area=128",
    )
    compare.add_argument(
        "--objective", nargs="+", default=["energy", "latency", "edp"], metavar="WHAT", help="default: all three"
    )
    compare.add_argument(
        "--partial-sum-bits",
        type=int,
        default=8,
        metavar="N",
        help="width of output registers (default: 8, the paper's)",
    )
    compare.add_argument(
        "--memory", default="cacti_28nm", metavar="SOURCE", help="costs of cells and buffer, see memory"
    )
    compare.add_argument("--variant", default="paper", metavar="MODEL", help="paper (default), zigzag-imc or zigzag")
    technology_options(compare)
    compare.add_argument("--threads", type=int, metavar="N", help="default: one for each processor")
    compare.add_argument("--csv", metavar="FILE", help="write one row for each layer, design, objective and mapper")
    compare.add_argument("--quiet", action="store_true", help="no announcement and no progress bar")
    _save(compare)

    memory = command("memory", _memory, "what an access to a memory costs, and who says so")
    memory.add_argument("source", nargs="?", default="cacti_28nm", metavar="SOURCE",
                        help="zoo name (default: cacti_28nm), cacti, or a CSV file")  # fmt: skip
    size = memory.add_mutually_exclusive_group(required=True)
    size.add_argument("--size-bits", type=int, metavar="N")
    size.add_argument("--size-kib", type=int, metavar="N")
    memory.add_argument("--width-bits", type=int, required=True, metavar="N", help="bits of a word")


def macro_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Add options of the macro that searches take from an architecture file."""
    parser.add_argument(
        "--booth-encoding",
        action=argparse.BooleanOptionalAction,
        help=f"2 bits a cycle enter a digital macro as one Booth digit (default: {default})",
    )
    parser.add_argument(
        "--pipeline-after",
        nargs="*",
        metavar="COMPONENT",
        help=f"pipeline registers after mults, adcs, adders_regular or adders_pv (default: {default})",
    )


def technology_options(parser: argparse.ArgumentParser) -> None:
    """Add options that choose a technology."""
    parser.add_argument("--technology", metavar="TECH", help="zoo name or file (default: 28nm)")
    parser.add_argument("--node-nm", type=float, metavar="NM", help="scale to this feature size")
    parser.add_argument("--supply-v", type=float, metavar="V", help="supply voltage")


def technology(options: argparse.Namespace, default: Technology | None = None) -> Technology:
    """Return the technology of the options."""
    from fastmap.technology import DEFAULT, load_technology

    chosen = load_technology(options.technology or default or DEFAULT)
    return chosen.at(node_nm=options.node_nm, supply_v=options.supply_v)


def warn(*nodes: Technology) -> None:
    """Say so if delays are not those of the supply voltage."""
    from fastmap.technology import SAME_DELAYS

    if any(SAME_DELAYS in node.remarks for node in nodes):
        print(f"fastmap: warning: {SAME_DELAYS}", file=sys.stderr)


def _save(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--picture", metavar="FILE", help="draw it (.png, .svg, .pdf; needs the extra plot)")
    parser.add_argument(
        "--save",
        nargs="?",
        const=RESULTS,
        metavar="FOLDER",
        help=f"put JSON, text and picture there, replacing those of the same name (default: {RESULTS})",
    )


def _validate(options: argparse.Namespace) -> int:
    from fastmap import text
    from fastmap.pictures import draw_validation
    from fastmap.validation import VALIDATED, further_chips, validate_chips

    pictures = _pictures(options, "validation")
    chips = validate_chips(options.chip or VALIDATED)
    others = further_chips() if options.further else []
    data: dict[str, Any] = {"chips": [chip.to_dict() for chip in chips]}
    shown = text.validation(chips)
    if others:
        data["further_chips"] = [chip.to_dict() for chip in others]
        shown += "\n\n" + text.further(others)
    _show(options, "validation", data, shown, [partial(draw_validation, chips, path) for path in pictures])
    return 0


def _peak(options: argparse.Namespace) -> int:
    from fastmap import text
    from fastmap.peak import PAPER_SIZES, peak_points
    from fastmap.pictures import draw_peaks

    pictures = _pictures(options, "peak")
    node = technology(options)
    warn(node)
    points = peak_points(
        options.kind,
        options.size or PAPER_SIZES,
        options.bits,
        options.bits_per_cycle,
        options.adc_bits,
        banks=options.banks,
        group_depth=options.group_depth,
        input_toggle_rate=options.input_toggle_rate,
        weight_density=options.weight_density,
        booth_encoding=bool(options.booth_encoding),
        pipeline_after=options.pipeline_after or (),
        memory=options.memory,
        variant=options.variant,
        technology=node,
    )
    data = {"variant": options.variant, "points": [point.to_dict() for point in points]}
    _show(options, "peak", data, text.peaks(points), [partial(draw_peaks, points, path) for path in pictures])
    return 0


def _compare(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fastmap import text
    from fastmap.control import Control
    from fastmap.loading import load_workload
    from fastmap.peak import PAPER_SIZES
    from fastmap.pictures import draw_study
    from fastmap.study import NETWORKS, check, compare, designs, layers_to_search

    pictures = _pictures(options, "compare")
    node = technology(options)
    warn(node)
    chosen = designs(
        options.kind,
        options.size or PAPER_SIZES,
        options.macros,
        [_equal(each) for each in options.equal],
        partial_sum_bits=options.partial_sum_bits,
        memory=options.memory,
        variant=options.variant,
        technology=node,
    )
    workloads = [load_workload(name) for name in options.workload or NETWORKS]
    check(workloads, options.objective)
    control = options.interrupt.control = Control()
    options.interrupt.check()
    layers = layers_to_search(workloads, chosen)
    if not options.quiet:
        print(
            f"{len(workloads)} network{'s' if len(workloads) > 1 else ''} on {len(chosen)} designs: {layers} layers to "
            f"map for {', '.join(options.objective)}",
            file=sys.stderr,
        )
    with tqdm(total=layers, unit=" layers", disable=True if options.quiet else None, leave=False) as bar:
        found = compare(
            workloads, chosen, options.objective, threads=options.threads, progress=bar.update, control=control
        )
    _show(
        options, "compare", found.to_dict(), text.study(found), [partial(draw_study, found, path) for path in pictures]
    )
    if options.csv is not None:
        found.write_csv(options.csv)
    return 0


def _equal(text: str) -> tuple[str, int]:
    """Read `capacity=256`."""
    what, _, size = text.partition("=")
    if what not in ("capacity", "area") or not (size.isascii() and size.isdigit() and 0 < int(size) <= 2**16):
        raise InputError(f"--equal must look like capacity=256 or area=256, not {text!r}")
    return what, int(size)


def _memory(options: argparse.Namespace) -> int:
    from fastmap import text
    from fastmap.memory_costs import memory_cost

    size_bits = options.size_bits if options.size_bits is not None else options.size_kib * 8 * 1024
    cost = memory_cost(options.source, size_bits, options.width_bits)
    if options.json:
        print(json.dumps({"size_bits": size_bits, "width_bits": options.width_bits, **cost.to_dict()}, indent=1))
    else:
        print(text.memory(cost, size_bits, options.width_bits))
    return 0


def _pictures(options: argparse.Namespace, name: str) -> list[Path]:
    """Return the pictures to draw; `--save` leaves its own out where matplotlib is missing."""
    from fastmap.drawing import check_picture

    found = [check_picture(options.picture)] if options.picture else []
    if options.save is not None and importlib.util.find_spec("matplotlib") is not None:
        found.append(Path(options.save) / f"{name}.png")
    return found


def _show(
    options: argparse.Namespace, name: str, data: dict[str, Any], shown: str, draw: Sequence[Callable[[], None]]
) -> None:
    """Print, save and draw, in this order: what was computed is not lost where a file cannot be written."""
    print(json.dumps(data, indent=1) if options.json else shown)
    if options.save is not None:
        folder = Path(options.save)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
            (folder / f"{name}.txt").write_text(shown + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}") from None
    for each in draw:
        each()
