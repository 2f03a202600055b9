"""The table of faults: what a user is told of each, and which tests hold it to that.

``python tests/fault_table.py`` prints docs/faults.md; a test compares the two, and looks up every
test that is named here.
"""

from __future__ import annotations

import ast
import functools
import sys
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
N_ROWS = 80


@dataclass(frozen=True)
class Row:
    """A fault, what mmalign makes of it, and the tests: ``module::name`` or ``module``'s case."""

    number: int
    fault: str
    outcome: str
    tests: str
    limits: str = ""


def entry(number: int, fault: str, outcome: str, tests: str, limits: str = "") -> Row:
    return Row(number, fault, outcome, tests, limits)


STREAM = "fault_table::test_a_stream"
BATCH = "batch::test_a_death_is_of_its_row_alone"
OUTPUTS = "fault_table::test_55_56_57_58_outputs"
WRITING = "fault_writing::test_the_nth_call_fails fault_writing::test_59_disk_full"
NAMES = "fault_names::test_71_72_73_an_alignment fault_names::test_71_72_streams"

ROWS = [
    # -- the file itself
    entry(1, "missing file", "3 `no such file`, near names as a hint",
        f"{STREAM} faults::test_01_missing {BATCH}"),
    entry(2, "a folder for a file", "3 `is a directory`", f"{STREAM} faults::test_02_directory"),
    entry(3, "no permission to read", "3 `permission denied`", "faults::test_03_no_permission",
        "root may read everything: as root the refusal of the system is simulated"),
    entry(4, "empty file", "3 `file is empty`", f"{STREAM} faults::test_04_empty"),
    entry(5, "name and content disagree", "3 `content is X, name says Y`; `format=` overrules both",
        f"{STREAM} faults::test_05_format_overrules_name_and_content"),
    entry(6, "unknown kind of file", "3, the formats as a hint",
        f"{STREAM} faults::test_06_lists_formats"),
    entry(7, "pipe, socket, device; standard input",
        "3 `is a device, not a file`; `-` needs `format=`, 4 beyond `max-bytes=`",
        f"{STREAM} faults::test_07_devices faults::test_07_standard_input "
        "faults::test_07_process_reads_a_pipe"),
    entry(8, "symbolic links in a circle, or to nothing", "3",
        f"{STREAM} faults::test_08_symlinks"),
    entry(9, "one file given twice", "0, warning", "faults::test_09_same_file_twice"),
    # -- arrays
    entry(10, "npy cut short", "3 `truncated: header promises 48 bytes, found 41`", STREAM),
    entry(11, "npy header that promises more than there is", "3, before anything is allocated",
        STREAM),
    entry(12, "npy shape that overflows or is negative", "3 `invalid shape in header`", STREAM),
    entry(13, "npy header malformed or too long", "3 `malformed header`", STREAM),
    entry(14, "pickles", "3, nothing is ever unpickled",
        f"{STREAM} faults::test_14_pickles_are_never_loaded faults::test_14_pickle_files "
        "faults::test_14_objects_beside_the_array_do_no_harm "
        "apply::test_pickles_are_never_loaded"),
    entry(15, "complex numbers", "3 `split into real/imag columns`",
        f"{STREAM} faults::test_arrays"),
    entry(16, "text, dates, records in an array", "3, names the type",
        f"{STREAM} faults::test_arrays"),
    entry(17, "whole numbers, truth values, half floats, the other byte order",
        "0, converted to float64, noted with `-v`", "faults::test_17_any_real_type"),
    entry(18, "no axis of frames, or too many", "3 `expected (n_frames,) or (n_frames, n_dims)`",
        f"{STREAM} faults::test_arrays"),
    entry(19, "an array that lies on its side", "0, warning `transposed? use transpose=true`",
        "faults::test_19_transposed"),
    entry(20, "bytes after the array of an npy file", "0, warning; 3 with `excess=error`",
        "faults::test_20_bytes_after_the_array"),
    entry(21, "npz of several arrays, or none", "3, lists them",
        f"{STREAM} faults::test_21_several_arrays_or_none"),
    entry(22, "files that unpack to many times their size (npz, mat, hdf5, parquet, flac, ogg)",
        "4 beyond `max-bytes=`, by the directory of the archive and while reading",
        f"{STREAM} faults::test_22_archive_bomb"),
    entry(23, "damaged or encrypted archives, headers that lie, names that lead out of the folder",
        "3; a name in an archive is never a path",
        f"{STREAM} faults::test_23_archives faults::test_23_names_are_no_paths"),
    # -- sound
    entry(24, "sound cut short", "3; with `allow-truncated=true` 0 and a warning",
        f"{STREAM} faults::test_24_cut_in_half faults::test_24_cut_flac"),
    entry(25, "sound without a frame", "3 `no audio frames`",
        f"{STREAM} faults::test_25_no_frames"),
    entry(26, "sample rates that cannot be", "3", f"{STREAM} faults::test_26_rates"),
    entry(27, "no channels, or 65535", "3", f"{STREAM} faults::test_27_channels"),
    entry(28, "a size field that promises too much", "as 24",
        f"{STREAM} faults::test_28_size_field_lies_upward"),
    entry(29, "sound that is not finite", "3, how many and where",
        f"{STREAM} faults::test_29_not_finite"),
    entry(30, "silence", "0, warning; 3 where nothing can be learned of it",
        "faults::test_30_silence ctw::test_constant_streams_are_refused "
        "gtw::test_a_constant_stream_is_refused"),
    entry(31, "many channels", "0, their mean, noted; `channel=`",
        "faults::test_31_mixdown_is_recorded faults::test_31_no_such_channel"),
    entry(32, "sound shorter than one window", "3",
        f"{STREAM} faults::test_32_shorter_than_a_window"),
    entry(33, "sound that cannot be decoded", "3; what the decoder prints by itself is kept off",
        STREAM),
    # -- tables
    entry(34, "table without a header", "0, no row is lost; `header=`",
        "faults::test_34_no_header_no_row_eaten"),
    entry(35, "a field more in every row", "3 `line 2: 3 fields, header has 2`", STREAM),
    entry(36, "rows of different length", "3, the line", STREAM),
    entry(37, "decimal comma", "3, hint `--decimal ,`", STREAM),
    entry(38, "words, NUL bytes, open quotes, 100000 columns, equal names", "3, line and column",
        STREAM),
    entry(39, "byte order marks, encodings, ends of lines",
        "UTF-8 with any of these 0; else 3, hint `--encoding`",
        f"{STREAM} faults::test_39_spellings_of_one_table faults::test_39_encodings_named"),
    entry(40, "missing and infinite values",
        "3, how many and where; `nan=` treats them; `info` shows them",
        f"{STREAM} faults::test_40_missing_values_treated"),
    entry(41, "a header alone, dates as data, times alone", "3", STREAM),
    entry(42, "times that decrease, repeat or are missing", "3, the row",
        f"{STREAM} readers::test_units_of_time_columns"),
    # -- what is aligned
    entry(43, "one frame", "dtw 0; ctw and gtw 3",
        "faults::test_43_one_frame fault_table::test_43_one_frame"),
    entry(44, "streams of different dimensions for dtw", "3, names ctw",
        "faults::test_44_dimensions gtw::test_columns_that_cannot_be_compared_are_refused"),
    entry(45, "constant columns", "0, warning; 3 if all are",
        "faults::test_45_constant_columns ctw::test_constant_and_repeated_columns"),
    entry(46, "fewer frames than dimensions, columns that repeat",
        "0, rank by a relative tolerance",
        "faults::test_46_fewer_frames_than_dimensions ctw::test_fewer_frames_than_dimensions"),
    entry(47, "values of 1e300 or 1e-300", "0, the same path; or 3",
        "faults::test_47_extreme_values faults::test_47_the_scale_does_not_change_the_path "
        "ctw::test_values_of_any_size"),
    entry(48, "identical streams", "0, cost 0, the diagonal", "faults::test_48_identical_streams"),
    entry(49, "ties everywhere", "0, diagonal steps first, always the same",
        "faults::test_49_ties_everywhere machines::test_same_answers_for_every_width"),
    # -- limits
    entry(50, "more memory than there is", "4 before any work, need and limit",
        "fault_table::test_50_too_little_memory faults::test_50_too_much_memory"),
    entry(51, "a band in which there is no path", "4, the smallest that holds one",
        "faults::test_51_band_too_narrow"),
    entry(52, "options of impossible values", "2",
        "faults::test_52_option_values fault_table::test_52_values_of_options"),
    entry(53, "rounds that do not end",
        "0, warning, `converged: false`; 4 with `--strict`", "faults::test_53_not_converged"),
    entry(54, "an objective that rises, or is no number",
        "1, nothing written but the state, in a file that is named",
        "faults::test_54_objective_goes_wrong faults::test_54_no_room_for_the_state"),
    # -- outputs
    entry(55, "output exists", "5 unless `--force`, checked first and again when it is placed",
        f"{OUTPUTS} write::test_a_file_that_appears_meanwhile_is_kept"),
    entry(56, "output is an input, by any name or link", "5, with `--force` too", OUTPUTS),
    entry(57, "output where none can be", "5 before any work",
        f"{OUTPUTS} faults::test_57_outputs_that_cannot_be",
        "a folder without permission needs a user who is not root"),
    entry(58, "output is a symbolic link", "5 unless `--force`: then its target is replaced",
        f"{OUTPUTS} faults::test_58_output_is_a_link"),
    entry(59, "disk full, a write, fsync or rename that fails",
        "5, the old file whole, nothing left",
        f"{WRITING} fault_writing::test_59_no_file_may_be_so_large "
        "environment::test_59_standard_output_is_full environment::test_59_file_too_large",
        "the full disk is a mounted one: as root only"),
    entry(60, "two processes write one file", "one 0, one 5",
        "environment::test_60_two_processes_write_one_file "
        "environment::test_60_a_late_refusal_takes_the_other_files_back"),
    entry(61, "killed, at any time",
        "the old or the new file; the next run takes away what was left",
        "fault_writing::test_61_killed_at_the_nth_call environment::test_61_killed_while_writing "
        "environment::test_61_only_left_overs_of_the_dead_go environment::test_during_import "
        "environment::test_during_the_kernel",
        "a power cut is not tried: each file is synchronised before it is placed"),
    # -- batches
    entry(62, "a batch that was killed", "goes on where it was; a torn last line is ignored",
        "batch::test_killed_and_run_again batch_parts::test_a_torn_line_is_ignored_and_cut_off "
        "fault_writing::test_a_batch_goes_on_later"),
    entry(63, "a bad row", "the others are done; 6, the failures as a table", BATCH),
    entry(64, "equal names", "streams get numbers; two rows of one id are refused",
        "faults::test_64_same_stem_gets_a_number "
        "batch_parts::test_clashing_ids_are_told_with_both_lines"),
    # -- signals and surroundings
    entry(65, "Ctrl-C in import, kernel, writing, a batch",
        "130 within 0.5 s, `interrupted; nothing written`",
        "environment::test_during_import environment::test_during_reading "
        "environment::test_during_the_kernel environment::test_during_writing "
        "environment::test_during_a_batch",
        "of five tries one has to be in time: other programs may have the processor"),
    entry(66, "SIGTERM", "143, nothing left",
        "environment::test_during_the_kernel environment::test_during_writing "
        "environment::test_during_a_batch"),
    entry(67, "a reader that has gone", "141, silently", "environment::test_67_reader_has_gone"),
    entry(68, "streams closed, ASCII, no terminal, a dumb one, 10 columns, no colours", "0",
        "environment::test_closed_streams environment::test_terminals "
        "environment::test_progress_on_a_terminal"),
    entry(69, "a locale of decimal commas", "no difference: the locale is never asked",
        "environment::test_69_a_decimal_comma_changes_nothing "
        "environment::test_69_the_locale_is_never_asked"),
    entry(70, "names of any characters", "0, or 3 with the name escaped",
        "faults::test_70_any_file_name environment::test_any_name"),
    entry(71, "terminal escapes in names and labels", "escaped in all that is said",
        f"{NAMES} faults::test_71_terminal_escapes"),
    entry(72, "labels that a spreadsheet takes for formulas", "`'` before them in csv",
        f"{NAMES} fault_names::test_71_72_projections faults::test_72_no_formulas_for_spreadsheets "
        "write::test_no_label_is_a_formula"),
    entry(73, "markup in labels", "is text", f"{NAMES} faults::test_73_markup_is_text"),
    entry(74, "a cache of kernels that is damaged, or a home that cannot be written",
        "0, compiled anew",
        "environment::test_74_truncated_cache environment::test_74_home_is_unset "
        "environment::test_74_home_cannot_be_written "
        "environment::test_74_folders_that_cannot_be_used"),
    entry(75, "eight processes at once and no cache", "all 0, the same numbers",
        "environment::test_75_eight_processes_and_a_cold_cache "
        "environment::test_75_two_cold_commands_at_once"),
    entry(76, "no compiler, one thread, one processor", "the same numbers",
        "environment::test_76_any_machine_gives_the_same_numbers "
        "environment::test_76_one_processor"),
    entry(77, "an extra that is not installed", "2, names it, where it is needed alone",
        "faults::test_77_without_matplotlib media::test_without_the_extra"),
    entry(78, "documents of another version, or changed by hand", "3, names the field",
        "faults::test_78_documents_changed_by_hand faults::test_78_not_json "
        "environment::test_78_damaged_documents_are_refused_or_read "
        "commands::test_documents_edited_by_hand"),
    entry(79, "no folder for temporary files", "0, none is needed",
        "environment::test_79_no_folder_for_temporary_files",
        "a clock that jumps is not tried: durations are read off a monotonic one"),
    entry(80, "a flipped bit in a document or model", "3 `checksum mismatch`",
        "faults::test_80_a_bit_of_a_document faults::test_80_another_spelling_is_no_change "
        "faults::test_80_a_bit_of_a_model"),
]  # fmt: skip

PAGE = """# Faults

What can be wrong with an input, an output or a machine, and what becomes of it. The first number
of an outcome is the [exit code](document.md#streams-of-text-exit-codes). Every refusal is one line
`mmalign: error: <what it is about>: <what is wrong>` on standard error and at most one `hint:`;
standard output is empty, or a whole document; there is no traceback; inputs, and outputs that were
there, are as they were to the byte; no temporary file is left. [SECURITY.md](../SECURITY.md) says
what is promised of files from strangers.

This page is made by `python tests/fault_table.py`; a test compares the two, and looks up the tests
that are named. `fault_table: a_stream` takes every file at fault through every command that reads
one, and refuses it in each.

| # | fault | outcome | tests |
| --: | --- | --- | --- |
"""


def names(row: Row) -> list[tuple[str, str]]:
    """Return module and function of the tests of a row."""
    pairs = (name.partition("::") for name in row.tests.split())
    return [(f"test_{module}", function) for module, _, function in pairs]


@functools.cache
def defined(module: str) -> set[str]:
    """Return the tests that a module defines."""
    tree = ast.parse((TESTS / f"{module}.py").read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def page() -> str:
    """Return docs/faults.md."""
    text = PAGE
    for row in ROWS:
        tests = "; ".join(f"{m[5:]}: {f.removeprefix('test_')}" for m, f in names(row))
        text += f"| {row.number} | {row.fault} | {row.outcome} | {tests} |\n"
    text += "\n## What the tests cannot try everywhere\n\n"
    text += "\n".join(f"- {row.number}: {row.limits}." for row in ROWS if row.limits)
    return text + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
