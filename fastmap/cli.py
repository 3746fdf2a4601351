"""The command line. Imports what it needs where it needs it, so that ``--help`` stays quick."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import fastmap
from fastmap import mine_cli, model_commands, picture_commands
from fastmap.errors import FastmapError, InputError, reason

if TYPE_CHECKING:
    from fastmap.architecture import Architecture
    from fastmap.control import Control
    from fastmap.exploration import NetworkPlan
    from fastmap.layer import Layer
    from fastmap.mapping import Constraints
    from fastmap.result import NetworkResult
    from fastmap.workload import Workload

EXIT_OURS, EXIT_USER, EXIT_INTERRUPTED = 1, 2, 130
#: About what one layer takes in a result file.
KILOBYTES_PER_RESULT = 50


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one sentence."""

    def error(self, message: str) -> Any:
        """Leave with the exit code of a user's mistake."""
        self.exit(EXIT_USER, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for the user's mistake, 1 for ours, 130 for Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # names are the user's: any character, on any terminal
        sys.stdout.reconfigure(errors="backslashreplace")
    interrupt = Interrupt()
    try:
        with interrupt.noticed():
            try:
                options = _parser().parse_args(arguments)
                options.interrupt = interrupt
                code: int = options.run(options)
                interrupt.check()
                return code
            finally:
                sys.stdout.flush()
    except FastmapError as error:
        print(f"fastmap: {error}", file=sys.stderr)
        return EXIT_USER
    except KeyboardInterrupt:
        exec("")  # Python would end by the signal if it had hit an earlier exec; this makes it forget that
        print("fastmap: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has left
        _discard_output()
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        _discard_output()
        print(f"fastmap: cannot write the output: {reason(error)}", file=sys.stderr)
        return EXIT_OURS


class Interrupt:
    """Ctrl-C, and that it came.

    The KeyboardInterrupt of Ctrl-C is lost where Python ignores exceptions: in callbacks of the compiler while it loads
    a kernel, or when weak references go. Therefore it is remembered as well, and stops the search that follows.
    """

    def __init__(self) -> None:
        self.came = False
        self.control: Control | None = None  #: of the search in progress

    def check(self) -> None:
        """Raise the KeyboardInterrupt that may have been lost."""
        if self.came:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def noticed(self) -> Iterator[None]:
        """Watch for Ctrl-C."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handler(number: int, frame: FrameType | None) -> None:
            self.came = True
            if self.control is not None:
                self.control.stop()
            raise KeyboardInterrupt

        def hook(unraisable: sys.UnraisableHookArgs) -> None:
            if not issubclass(unraisable.exc_type, KeyboardInterrupt):
                before_hook(unraisable)

        before, before_hook = signal.signal(signal.SIGINT, handler), sys.unraisablehook
        sys.unraisablehook = hook
        try:
            yield
        except SystemError:  # what is left of a KeyboardInterrupt that comes while a compiled function returns
            self.check()
            raise
        finally:
            signal.signal(signal.SIGINT, before)
            sys.unraisablehook = before_hook


def _discard_output() -> None:
    """Keep Python from trying again, at its end, to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _width() -> int | None:
    """Columns of the terminal; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _parser() -> Parser:
    parser = Parser(prog="fastmap", description="Exhaustive mapping search for in-memory-computing accelerators.")
    parser.add_argument("--version", action="version", version=f"fastmap {fastmap.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=Parser)

    search = _command(commands, "search", _search, "find the best mappings of a network's layers")
    _workload(search)
    search.add_argument("--arch", nargs="+", required=True, metavar="ARCH", help="architectures: zoo names or files")
    _space(search)
    search.add_argument(
        "--objective", default="edp", metavar="WHAT", help="energy, latency, edp (default), ed2p, ed3p ..., or pareto"
    )
    search.add_argument(
        "--strategy", default="optimal", metavar="HOW", help="optimal (default): proven by bounds; exhaustive: cost all"
    )
    search.add_argument("--max-energy-pj", type=float, metavar="PJ", help="only mappings within this energy")
    search.add_argument("--max-latency-cycles", type=float, metavar="N", help="only mappings within this latency")
    search.add_argument(
        "--gap",
        default="0",
        metavar="SHARE",
        help="stop when this close to the optimum, as 1%% or 0.01; which mapping that is may differ from run to run",
    )
    search.add_argument(
        "--time-limit", type=float, metavar="S", help="seconds a layer; then the best so far, with its gap"
    )
    search.add_argument("--top", type=int, metavar="N", help="distinct points to keep (exhaustive; default: 10)")
    search.add_argument("--threads", type=int, metavar="N", help="default: one for each processor")
    search.add_argument("-o", "--output", metavar="FILE", help="store the results in this HDF5 file")
    search.add_argument(
        "--resume", action="store_true", help="go on with what an earlier run of the same search has left in the output"
    )
    search.add_argument(
        "--force", action="store_true", help="overwrite the output; search longer than an hour; fill the disk"
    )
    _keep(search)
    search.add_argument("--explain", action="store_true", help="show loop nest and breakdown of each best mapping")
    search.add_argument("--quiet", action="store_true", help="no announcement and no progress bar")

    evaluate = _command(commands, "evaluate", _evaluate, "cost one mapping of one layer")
    _workload(evaluate)
    evaluate.add_argument("--arch", required=True, metavar="ARCH", help="architecture: zoo name or file")
    evaluate.add_argument("--mapping", required=True, metavar="FILE", help="mapping file (YAML or JSON)")
    evaluate.add_argument(
        "--explain", action="store_true", help="show loop nest, breakdown and repairs of the cost model"
    )
    evaluate.add_argument("--compare", action="store_true", help="show how far the mapping is from the best, and why")
    evaluate.add_argument("--objective", metavar="WHAT", help="of --compare: energy, latency, edp (default), ed2p ...")

    explain = _command(commands, "explain", _explain, "say why the best mapping of a layer is as it is")
    _workload(explain)
    explain.add_argument("--arch", required=True, metavar="ARCH", help="architecture: zoo name or file")
    _space(explain)
    explain.add_argument("--objective", default="edp", metavar="WHAT", help="energy, latency, edp (default), ed2p ...")

    count = _command(commands, "count", _count, "count the mappings of a network's layers")
    _workload(count)
    count.add_argument("--arch", nargs="+", required=True, metavar="ARCH", help="architectures: zoo names or files")
    _space(count)

    mine_cli.add_arguments(_command(commands, "mine", mine_cli.run, "ask questions to result files"))
    picture_commands.add(functools.partial(_command, commands))

    macro = _command(commands, "macro", _macro, "energy, clock, area and peak figures of an array")
    macro.add_argument("arch", nargs="+", metavar="ARCH", help="architectures: zoo names or files")
    macro.add_argument("--variant", metavar="MODEL", help="zigzag, zigzag-imc or paper (default: the architecture's)")
    model_commands.macro_options(macro, "the architecture's")
    model_commands.technology_options(macro)

    model_commands.add(functools.partial(_command, commands))

    zoo = _command(commands, "zoo", _zoo, "list the zoo, or show one of its entries")
    zoo.add_argument("name", nargs="?", metavar="NAME", help="entry to show")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    return parser


def _keep(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to keep of the mappings (exhaustive, with --output)")
    group.add_argument(
        "--keep",
        nargs="+",
        metavar="WHAT",
        help="best, top-k, pareto, histogram (default: the last three); filter, sample, all: mappings, row by row",
    )
    group.add_argument(
        "--where", metavar="EXPR", help="of filter: which ones, like 'energy_pj < 1.05 * best and utilization > 0.5'"
    )
    group.add_argument("--sample", type=int, metavar="N", help="draw so many, uniformly")
    group.add_argument("--seed", type=int, metavar="N", help="of the sample (default: 0)")
    group.add_argument(
        "--columns", nargs="+", metavar="NAME", help="store these, too, like edp_pj_ns, stall_cycles, W.energy_pj"
    )


def _workload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("workload", metavar="WORKLOAD", help="zoo name, YAML or ONNX file")
    parser.add_argument("--layer", nargs="+", metavar="NAME", help="only these layers")
    parser.add_argument(
        "--cost-model",
        default="corrected",
        metavar="MODEL",
        help="corrected (default): without ZigZag's numerical accidents; zigzag: number for number as ZigZag 3.9.1",
    )


def _space(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what to choose from")
    group.add_argument("--constraints", metavar="FILE", help="constraints file, or ZigZag's mapping file")
    several: dict[str, Any] = {"action": "append", "metavar": "..."}
    group.add_argument("--spatial", **several, help="fixed spatial factors, like D1:K=32,D2:C=16,FX=3")
    group.add_argument("--spatial-factors", **several, help="factors to choose from, like D1:K=16,32,D2:C=64")
    group.add_argument("--allow", **several, help="loops that may be unrolled, like D1:K,OX,D2:C")
    group.add_argument("--spatial-candidates", metavar="WHICH", help="complete (default), or zigzag: ZigZag's own few")
    group.add_argument("--max-spatial-mappings", type=int, metavar="N", help="only those that fill the array best")
    group.add_argument("--min-array-utilization", type=float, metavar="SHARE", help="only those that use this share")
    group.add_argument("--loop-factor-limit", type=int, metavar="N", help="at most N loops (ZigZag's lpf_limit)")
    group.add_argument("--innermost", metavar="LOOPS", help="how the order starts, innermost first, like OX=7,OY=7")
    group.add_argument("--outermost", metavar="LOOPS", help="how the order ends, the outermost loop last, like K=4")
    group.add_argument(
        "--inside", nargs=2, action="append", metavar=("A", "B"), help="all loops of A lie inside those of B, like C K"
    )
    group.add_argument("--stationary", **several, help="the operand that a memory's contents reuse, like cells=W")
    group.add_argument(
        "--forbid", **several, help="no loops of these in a memory (or MEMORY.OPERAND), like sram=K,C or sram.O=C"
    )
    group.add_argument(
        "--factor",
        **several,
        help="iterations of a loop in a memory (or MEMORY.OPERAND), like sram:K=4,C=2..8 or sram.O:K=..4",
    )
    group.add_argument(
        "--allocation", metavar="WHICH", help="free (default), even: the same for all operands, or greedy: ZigZag's"
    )
    group.add_argument(
        "--weights-loaded-once",
        action="store_true",
        default=None,
        help="write each weight into the innermost weight memory once",
    )
    group.add_argument(
        "--data-locality", action="store_true", help="keep activations on chip between layers if they fit"
    )


def _load_workload(options: argparse.Namespace) -> Workload:
    from fastmap.loading import load_workload

    workload = load_workload(options.workload)
    if not workload.layers:
        raise InputError(f"{options.workload}: has no layer that maps to an array")
    return workload


def _chosen(options: argparse.Namespace, workload: Workload) -> list[Layer]:
    return [workload[name] for name in dict.fromkeys(options.layer)] if options.layer else list(workload)


def _constraints(
    options: argparse.Namespace, workload: Workload, architecture: Architecture
) -> Callable[[Layer], Constraints]:
    """Constraints of the file and of the options, which win."""
    from fastmap.constraints import read_options, replaced
    from fastmap.loading import load_constraints

    given = read_options(vars(options))
    from_file = load_constraints(options.constraints) if options.constraints else None
    if from_file is not None:
        from_file.check_layers(workload)

    def for_layer(layer: Layer) -> Constraints:
        return given if from_file is None else replaced(from_file.for_layer(layer, architecture), given)

    return for_layer


def _architectures(names: Sequence[str], option: str) -> list[Architecture]:
    """Load architectures; results go by their names, so these must differ."""
    from fastmap.loading import load_architecture

    architectures = [load_architecture(name) for name in names]
    found = [architecture.name for architecture in architectures]
    if len(set(found)) < len(found):
        raise InputError(f"{option}: two architectures have the same name ({', '.join(found)})")
    return architectures


def _plans(options: argparse.Namespace) -> list[NetworkPlan]:
    """Load everything and count the spaces, for every architecture."""
    from fastmap.exploration import plan_network

    workload = _load_workload(options)
    chosen = _chosen(options, workload)
    architectures = _architectures(options.arch, "--arch")
    for architecture in architectures:
        for warning in architecture.warnings:
            print(f"fastmap: {architecture.name}: warning: {warning}", file=sys.stderr)
    return [
        plan_network(
            workload,
            architecture,
            _constraints(options, workload, architecture),
            layers=chosen,
            cost_model=options.cost_model,
            data_locality=options.data_locality,
        )
        for architecture in architectures
    ]


def _announce_compilation(options: argparse.Namespace) -> None:
    """Say why nothing happens for a while when the kernels are not in the cache."""
    from numba.core import config

    import fastmap.kernels._jit  # noqa: F401  sets the folder of the cache

    if not Path(config.CACHE_DIR).exists() and not vars(options).get("quiet"):  # type: ignore[attr-defined]
        print("compiling the kernels, once after each installation: about a minute", file=sys.stderr)


def _search(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fastmap.control import Control
    from fastmap.exploration import Options, check_options, is_enumerated, prepare, search_network
    from fastmap.keep import Keep
    from fastmap.recorded import announcement, check_room, seconds_to_enumerate
    from fastmap.result import NetworkResult, SearchResult
    from fastmap.store import ResultFile, check_output, parts_bytes
    from fastmap.text import readable_time

    how = Options(
        options.objective,
        options.strategy,
        options.max_energy_pj,
        options.max_latency_cycles,
        _share(options.gap),
        options.time_limit,
        options.top,
        options.threads,
        options.force,
        Keep.of(options.keep, options.where, options.sample, options.seed, options.columns or ())
        if any(vars(options)[name] is not None for name in ("keep", "where", "sample", "seed", "columns"))
        else None,
    )
    if options.output is not None:
        check_output(options.output, options.force, options.resume)
    elif options.resume:
        raise InputError("--resume needs the file (--output) of the run to go on with")
    _announce_compilation(options)
    plans = _plans(options)
    size = sum(plan.size for plan in plans)
    spaces = [space for plan in plans for space in plan.distinct.values()]
    for space in spaces:
        check_options(space, how, recorded=options.output is not None)
    control = options.interrupt.control = Control()
    options.interrupt.check()
    recordings, there = {}, 0
    if options.output is not None:
        for space in spaces:
            recording = prepare(space, how, control)
            if recording is not None:
                recordings[id(space)] = recording
        there = parts_bytes(options.output) if options.resume else 0
        expected_bytes = sum(each.forecast.bytes for each in recordings.values())
        check_room(expected_bytes - there, options.output, options.force)
    enumerated = [space for space in spaces if is_enumerated(space, how)]
    finished: list[NetworkResult] = []
    failure: FastmapError | None = None
    output = None
    if options.output is not None:
        with control.on_interrupt():  # or its lock might stay
            output = ResultFile.create(options.output, overwrite=options.force, resume=options.resume, tell=_tell)
    try:
        if not options.quiet:
            distinct = sum(len(plan.distinct) for plan in plans)
            names = ", ".join(plan.architecture.name for plan in plans)
            time = readable_time(
                sum(
                    recordings[id(space)].forecast.seconds(options.threads)
                    if id(space) in recordings
                    else seconds_to_enumerate(space, options.threads)
                    for space in enumerated
                )
            )
            effort = f", {time if time.startswith('less') else f'about {time}'} to enumerate" if enumerated else ""
            layers = f"{distinct} distinct layer{'s' if distinct > 1 else ''}"
            stored = f", about {KILOBYTES_PER_RESULT * distinct} kB to {options.output}" if output else ""
            print(
                f"{plans[0].workload.name} on {names}: {size:,} mappings of {layers}{effort}{stored}",
                file=sys.stderr,
            )
            if how.keep is not None and (how.keep.rows or how.keep.sample_size):
                expected = [each.forecast for each in recordings.values()]
                print(f"keeping {announcement(expected, how.keep, options.output, there)}", file=sys.stderr)
        if options.interrupt.came or control.stopped:
            raise KeyboardInterrupt
        # Without a terminal there is no bar: a log would be full of it.
        hidden = True if options.quiet else None
        with tqdm(total=size, unit=" mappings", unit_scale=True, disable=hidden, leave=False) as bar:

            def advance(mappings: int) -> None:
                if not bar.n:
                    bar.unpause()  # the rate counts from the first mapping, not from the compilation
                bar.update(mappings)

            for plan in plans:
                bar.set_description(plan.architecture.name)
                finished.append(NetworkResult(plan.workload.name, plan.architecture, {}))

                def keep(name: str, result: SearchResult) -> None:
                    if len(result.points[options.objective]):  # Ctrl-C may have come before the first mapping
                        finished[-1].results[name] = result
                        if output:
                            with control.on_interrupt():  # HDF5 must not be interrupted half-way
                                output.write(result, name)

                search_network(
                    plan, how, progress=advance, control=control, keep=keep, output=output, recordings=recordings
                )
                if control.stopped:
                    break
    except KeyboardInterrupt:
        exec("")  # as in main
        control.stop()
    except FastmapError as error:  # what was found before is still shown
        failure = error
    finally:
        if output:
            output.close()
    finished = [network for network in finished if network.results]
    _show(options, finished, stored=bool(output and finished))
    if failure is not None:
        raise failure
    if control.stopped:
        options.interrupt.came = False  # it has been heard
        kept = (
            ""
            if not finished
            else "; what was done is stored, and --resume goes on"
            if output
            else "; what was done is shown"
        )
        print(f"fastmap: interrupted{kept}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _tell(sentence: str) -> None:
    """Warn, also while there is a progress bar."""
    from tqdm import tqdm

    tqdm.write(f"fastmap: {sentence}", file=sys.stderr)


def _share(text: str) -> float:
    """A share, written as 0.01 or 1%."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise InputError(f"--gap must be a share such as 1% or 0.01, not {text!r}") from None


def _show(options: argparse.Namespace, networks: list[NetworkResult], stored: bool) -> None:
    """Print the results of a search."""
    from fastmap import text

    if options.json:
        print(json.dumps([_network_dict(network) for network in networks], indent=1))
        return
    parts = [text.network(network, options.objective, _width()) for network in networks]
    for network in networks if options.explain else ():
        same: dict[int, list[str]] = {}
        for name, found in network:
            same.setdefault(id(found.points), []).append(name)
        for first, *others in same.values():
            found = network.results[first]
            parts.append(text.explain(found.best[0], found.architecture, others))
    if stored:
        parts.append(f"stored in {options.output}")
    if parts:
        print("\n\n".join(parts))


def _network_dict(result: NetworkResult) -> dict[str, Any]:
    layers = {}
    for name, found in result:
        layers[name] = {
            "best": [each.to_dict() for each in found.best],
            "optimal": found.optimal,
            "gap": found.gap,
            "certificate": found.certificate,
            "statistics": found.statistics,
        }
        if "pareto" in found.points:
            points = found.points["pareto"]
            layers[name]["pareto"] = [
                {"energy_pj": float(energy), "latency_cycles": float(cycles)}
                for energy, cycles in zip(points.energy_pj, points.latency_cycles, strict=True)
            ]
    fronts = any(found.objective == "pareto" for _, found in result)  # points of several fronts do not add up
    return {
        "workload": result.workload,
        "architecture": result.architecture.name,
        **({} if fronts else {"totals": result.totals}),
        "complete": result.complete,
        "layers": layers,
    }


def _evaluate(options: argparse.Namespace) -> int:
    from fastmap import text
    from fastmap.comparison import compare
    from fastmap.evaluation import evaluate
    from fastmap.loading import load_architecture, load_mapping
    from fastmap.repair_effects import repairs

    if options.objective is not None and not options.compare:
        raise InputError("--objective belongs to --compare: the cost of a mapping has none")
    workload = _load_workload(options)
    layers = _chosen(options, workload)
    if len(layers) != 1:
        names = ", ".join(layer.name for layer in workload)
        raise InputError(f"evaluate takes one layer: choose one of {workload.name}'s with --layer ({names})")
    architecture = load_architecture(options.arch)
    found = evaluate(layers[0], architecture, load_mapping(options.mapping), options.cost_model)
    applied = repairs(layers[0], architecture, found.mapping)
    compared = None
    if options.compare:
        compared = compare(
            layers[0], architecture, found.mapping, options.objective or "edp", cost_model=options.cost_model
        )
    if options.json:
        data = found.to_dict() | applied.to_dict()
        if compared is not None:
            data["comparison"] = {key: value for key, value in compared.to_dict().items() if key != "mapping"}
        print(json.dumps(data, indent=1))
        return 0
    parts = [text.explain(found, architecture) if options.explain else text.figures(found)]
    if options.explain:
        parts.append(text.repairs(applied))
    if compared is not None:
        parts.append(text.comparison(compared, architecture))
    print("\n\n".join(parts))
    return 0


def _explain(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fastmap import text
    from fastmap.explanation import count_searches, explain
    from fastmap.loading import load_architecture

    workload = _load_workload(options)
    architecture = load_architecture(options.arch)
    local: dict[str, Architecture] = {}
    if options.data_locality:
        from fastmap.locality import localize

        local = localize(workload, architecture)
    constraints = _constraints(options, workload, architecture)
    same: dict[Any, list[Layer]] = {}
    for layer in _chosen(options, workload):
        on = local.get(layer.name, architecture)
        same.setdefault((layer.signature, on.model_dump_json(), constraints(layer).model_dump_json()), []).append(layer)
    data = []
    for number, (layer, *others) in enumerate(same.values()):
        on = local.get(layer.name, architecture)
        searches = count_searches(on)
        with tqdm(total=searches, unit="search", desc=layer.name, disable=None, leave=False) as bar:
            found = explain(layer, on, options.objective, options.cost_model, constraints(layer), bar.update)
        also = [other.name for other in others]
        if options.json:
            data.append(found.to_dict() | {"also": also})
        else:  # as soon as it is there: each takes a dozen searches
            print(("\n" if number else "") + text.explanation(found, on, also), flush=True)
    if options.json:
        print(json.dumps(data, indent=1))
    return 0


def _count(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from fastmap.control import Control
    from fastmap.counting import count_valid
    from fastmap.errors import SearchError

    _announce_compilation(options)
    plans = _plans(options)
    if not options.json:
        print("\n\n".join(_all_mappings(plan) for plan in plans), end="\n\n", flush=True)
    control = options.interrupt.control = Control()
    options.interrupt.check()
    spaces = [space for plan in plans for space in plan.distinct.values()]
    valid: dict[int, int | str] = {}  # number, or why there is none
    try:
        total = sum(len(space.orders) for space in spaces)
        with tqdm(total=total, unit=" spatial mappings", disable=None, leave=False) as bar:
            for space in spaces:
                try:
                    count = count_valid(space, progress=bar.update, control=control)
                except SearchError as error:
                    valid[id(space)] = f"not counted: {error}"
                else:
                    if count is None:
                        break
                    valid[id(space)] = count
    except KeyboardInterrupt:
        exec("")  # as in main
        control.stop()
    if options.json:
        print(json.dumps([_counts_dict(plan, valid) for plan in plans], indent=1))
    else:
        print("\n\n".join(_valid_mappings(plan, valid) for plan in plans))
    if control.stopped:
        options.interrupt.came = False  # it has been heard
        print("fastmap: interrupted; what was counted is shown", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _all_mappings(plan: NetworkPlan) -> str:
    """Numbers of mappings, valid or not, for people."""
    from fastmap import text
    from fastmap.recorded import seconds_to_enumerate

    seconds = {id(space): seconds_to_enumerate(space, None) for space in plan.distinct.values()}
    rows = [
        (name, f"{len(space.orders):,}", f"{space.size:,}", text.readable_time(seconds[id(space)]))
        for name, space in plan.spaces.items()
    ]
    rows.append(("all distinct", "", f"{plan.size:,}", text.readable_time(sum(seconds.values()))))
    header = ("layer", "spatial mappings", "mappings", "to enumerate")
    return f"{plan.workload.name} on {plan.architecture.name}\n{text.table(header, rows)}"


def _valid_mappings(plan: NetworkPlan, valid: dict[int, int | str]) -> str:
    """Numbers of valid mappings, as far as they are known, for people."""
    from fastmap import text

    def row(name: str, counts: list[int | str], size: int) -> tuple[str, str, str]:
        if any(isinstance(count, str) for count in counts):
            return name, "not counted", ""
        total = sum(int(count) for count in counts)
        return name, f"{total:,}", f"{total / size:.2%}" if total * 1000 >= size else f"{total / size:.1e}"

    rows, notes = [], []
    for name, space in plan.spaces.items():
        count = valid.get(id(space), "not counted")
        rows.append(row(name, [count], space.size))
        if isinstance(count, str) and id(space) in valid:
            notes.append(f"{name}: {count}")
    rows.append(row("all distinct", [valid.get(each, "not counted") for each in plan.distinct], plan.size))
    header = ("layer", "valid mappings", "share")
    title = f"those that fit every memory and keep the constraints, {plan.workload.name} on {plan.architecture.name}"
    return "\n".join([title, text.table(header, rows), *notes])


def _counts_dict(plan: NetworkPlan, valid: dict[int, int | str]) -> dict[str, Any]:
    """All numbers for machines; a number of valid mappings that is not known is null."""

    def number(count: int | str | None) -> dict[str, Any]:
        return {"valid_mappings": None, "why": count} if isinstance(count, str) else {"valid_mappings": count}

    counts = [valid.get(each) for each in plan.distinct]
    known = [count for count in counts if isinstance(count, int)]
    return {
        "workload": plan.workload.name,
        "architecture": plan.architecture.name,
        "mappings": plan.size,
        "valid_mappings": sum(known) if len(known) == len(counts) else None,
        "layers": {
            name: {
                "spatial_mappings": len(space.orders),
                "mappings": space.size,
                **number(valid.get(id(space))),
            }
            for name, space in plan.spaces.items()
        },
    }


def _macro(options: argparse.Namespace) -> int:
    from fastmap import text
    from fastmap.macro import architecture_report

    architectures = _architectures(options.arch, "macro")
    nodes = [model_commands.technology(options, each.technology) for each in architectures]
    model_commands.warn(*nodes)
    chosen = {"booth_encoding": options.booth_encoding, "pipeline_after": options.pipeline_after}
    reports = [
        architecture_report(each, options.variant, node, **chosen)
        for each, node in zip(architectures, nodes, strict=True)
    ]
    if options.json:
        data = {a.name: report.to_dict() for a, report in zip(architectures, reports, strict=True)}
        print(json.dumps(data, indent=1))
    else:
        print("\n\n".join(text.macro(report, a.name) for a, report in zip(architectures, reports, strict=True)))
    return 0


def _zoo(options: argparse.Namespace) -> int:
    from fastmap import text, zoo
    from fastmap._spec import closest, listed, shown
    from fastmap.loading import load_architecture, load_workload
    from fastmap.technology import load_technology

    if options.name is not None:
        kinds = [kind for kind in zoo.FOLDERS if options.name in zoo.names(kind)]
        if not kinds:
            known = [name for kind in zoo.FOLDERS for name in zoo.names(kind)]
            raise InputError(
                f"the zoo has no {shown(options.name)}{closest(options.name, known)} (it has {listed(known)})"
            )
        if options.json and kinds[0] in ("architecture", "workload", "technology"):
            loaders = {"architecture": load_architecture, "workload": load_workload, "technology": load_technology}
            load: Callable[[str], Any] = loaders[kinds[0]]
            print(json.dumps(load(options.name).model_dump(mode="json"), indent=1))
        elif options.json:
            print(json.dumps({"text": zoo.text(kinds[0], options.name)}, indent=1))
        else:
            print(zoo.text(kinds[0], options.name), end="")
        return 0
    if options.json:
        print(json.dumps({kind: list(zoo.names(kind)) for kind in zoo.FOLDERS}, indent=1))
        return 0
    for kind in zoo.FOLDERS:
        rows = [(name, zoo.description(kind, name)) for name in zoo.names(kind)]
        print(text.table((kind, "<what it is"), rows, _width()))
        print()
    print("fastmap zoo NAME shows an entry's file.")
    return 0
