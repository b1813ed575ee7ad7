from __future__ import annotations

from yocc.runtime.backends.tvm.estimate.blocks import (
    calls,
    counter_program,
    kernel_of,
    read_blocks,
    traces,
    with_counters,
)

ASSEMBLY = """\
	.text
	.globl	__tvm_ffi_sum
	.type	__tvm_ffi_sum,@function
__tvm_ffi_sum:
.Lfunc_begin0:
	.cfi_startproc
	cmp	w2, #3
	b.ne	.LBB0_2
.Ltmp1:
	b	sum_compute_
.LBB0_2:
	mov	w0, #-1
	ret
.Lfunc_end0:
	.size	__tvm_ffi_sum, .Lfunc_end0-__tvm_ffi_sum
	.type	sum_compute_,@function
sum_compute_:
	adrp	x0, .L__tvm_parallel_lambda
	add	x0, x0, :lo12:.L__tvm_parallel_lambda
	blr	x8
	bl	expf
	ret
.Lfunc_end1:
	.type	.L__tvm_parallel_lambda,@function
.L__tvm_parallel_lambda:
	mov	x9, #10
.LBB2_1:
	.loc	1 0 0
	ldr	q0, [x1], #16
	fmla	v1.4s, v0.4s, v2.s[0]
	subs	x9, x9, #1
	b.ne	.LBB2_1
	str	q1, [x2]
	cbz	x3, .LBB2_3
	str	q1, [x4]
.LBB2_3:
	ret
.Lfunc_end2:
	.section	.rodata
.L.str:
	.asciz	"text"
"""
LAMBDA = ".L__tvm_parallel_lambda"


def test_blocks_end_at_branches_and_begin_at_labels() -> None:
    blocks = read_blocks(ASSEMBLY)
    found = [(block.function, [each.split()[0] for each in block.instructions], block.falls) for block in blocks]
    assert found == [
        ("__tvm_ffi_sum", ["cmp", "b.ne"], True),
        ("__tvm_ffi_sum", ["b"], False),
        ("__tvm_ffi_sum", ["mov", "ret"], False),
        ("sum_compute_", ["adrp", "add", "blr", "bl", "ret"], False),
        (LAMBDA, ["mov"], True),
        (LAMBDA, ["ldr", "fmla", "subs", "b.ne"], True),
        (LAMBDA, ["str", "cbz"], True),
        (LAMBDA, ["str"], True),
        (LAMBDA, ["ret"], False),
    ]


def test_every_block_gets_its_own_counter_and_no_flag_is_set() -> None:
    blocks = read_blocks(ASSEMBLY)
    counted = with_counters(ASSEMBLY, blocks)
    assert read_blocks(counted)[5].instructions[6:] == blocks[5].instructions
    assert [f"yocc_block_counts+{8 * number}]" in counted for number in range(len(blocks) + 1)] == [True] * 9 + [False]
    added = set(counted.split("\n")) - set(ASSEMBLY.split("\n"))
    assert {line.split()[0] for line in added} == {"stp", "adrp", "ldr", "add", "str", "ldp"}


def test_the_program_has_a_counter_for_each_block() -> None:
    assert "yocc_block_counts[9]" in counter_program(9, "/tmp/counts")
    assert '"/tmp/counts"' in counter_program(9, "/tmp/counts")


def test_blocks_that_run_equally_often_one_after_the_other_are_one_trace() -> None:
    found = traces(read_blocks(ASSEMBLY), [2, 2, 0, 2, 2, 20, 2, 2, 2])
    names = [(trace.count, [each.split()[0] for each in trace.instructions]) for trace in found]
    assert names == [
        (2, ["cmp", "b.ne", "b"]),
        (2, ["adrp", "add", "blr", "bl", "ret"]),
        (2, ["mov"]),
        (20, ["ldr", "fmla", "subs", "b.ne"]),
        (2, ["str", "cbz", "str", "ret"]),
    ]


def test_a_block_that_did_not_run_separates_its_neighbors() -> None:
    found = traces(read_blocks(ASSEMBLY), [2, 2, 0, 2, 2, 20, 2, 0, 2])
    assert [trace.count for trace in found] == [2, 2, 2, 20, 2, 2]


def test_functions_belong_to_the_kernel_that_refers_to_them() -> None:
    owner = kernel_of(read_blocks(ASSEMBLY), ["sum", "absent"])
    assert owner == {"__tvm_ffi_sum": "sum", "sum_compute_": "sum", LAMBDA: "sum"}


def test_calls_are_named_unless_their_address_is_in_a_register() -> None:
    assert list(calls(read_blocks(ASSEMBLY)[3].instructions)) == ["blr x8", "expf"]
