"""The numeric table: every primitive's numpy meaning and C text side by side.

Nothing else in synapcc knows integer arithmetic: kernels combine these in numpy, and the emitted C holds the
text that stands here, one file a family. docs/NUMERICS.md states each one with test vectors;
tests/gen/test_numeric.py proves that the two columns agree.

The C relies on two's complement and an arithmetic right shift of negative numbers, which C99 leaves to the
implementation and every Cortex-M compiler gives; the emitted file checks it at compile time.
"""

from __future__ import annotations

from . import exponential, gemmlowp, logistic, rounding, scaling, single, spread, streams, table
from .exponential import ERROR_FRAC as ERROR_FRAC
from .exponential import LOG_2_Q16 as LOG_2_Q16
from .exponential import exp2_neg as exp2_neg
from .exponential import logarithm as logarithm
from .exponential import logit_steps as logit_steps
from .exponential import probability as probability
from .exponential import reciprocal as reciprocal
from .gemmlowp import high_product as high_product
from .gemmlowp import leading_zeros as leading_zeros
from .gemmlowp import log_q5 as log_q5
from .gemmlowp import reciprocal_q0 as reciprocal_q0
from .gemmlowp import shift_away as shift_away
from .logistic import gate_sigmoid as gate_sigmoid
from .logistic import gate_tanh as gate_tanh
from .logistic import sigmoid_curve as sigmoid_curve
from .products import matmul as matmul
from .products import matvec as matvec
from .products import vecmat as vecmat
from .rounding import DITHER as DITHER
from .rounding import NEAREST as NEAREST
from .rounding import STOCHASTIC as STOCHASTIC
from .rounding import Rounding as Rounding
from .rounding import round_dither as round_dither
from .rounding import round_stochastic as round_stochastic
from .rounding import rounded as rounded
from .scaling import fine_multiplier as fine_multiplier
from .scaling import multiplier as multiplier
from .scaling import narrow_multiplier as narrow_multiplier
from .scaling import product_below as product_below
from .scaling import saturate as saturate
from .scaling import scale_fine as scale_fine
from .scaling import scale_half_up as scale_half_up
from .scaling import scale_half_up_wide as scale_half_up_wide
from .scaling import scale_once as scale_once
from .scaling import scale_once_right as scale_once_right
from .scaling import scale_twice as scale_twice
from .scaling import scale_twice_right as scale_twice_right
from .scaling import shift_round as shift_round
from .single import SIGNIFICAND as SIGNIFICAND
from .single import significand as significand
from .single import significand_product as significand_product
from .single import significand_quotient as significand_quotient
from .single import significand_root as significand_root
from .spread import ROOT_TABLE as ROOT_TABLE
from .spread import even_lead as even_lead
from .spread import root_reciprocal as root_reciprocal
from .spread import shifted_top as shifted_top
from .spread import spread_high as spread_high
from .spread import spread_low as spread_low
from .streams import LCG_ADD as LCG_ADD
from .streams import LCG_MUL as LCG_MUL
from .streams import feedback_matrix as feedback_matrix
from .streams import hash32 as hash32
from .streams import lanes as lanes
from .streams import lcg_coefficients as lcg_coefficients
from .streams import mix as mix
from .streams import product32 as product32
from .streams import row_keys as row_keys
from .streams import scale_index as scale_index
from .table import CASTS as CASTS
from .table import I32 as I32
from .table import U32 as U32
from .table import Int as Int
from .table import Primitive as Primitive
from .table import Word as Word
from .table import int32 as int32
from .table import int64 as int64
from .table import uint32 as uint32
from .table import uint64 as uint64

NUMERIC_VERSION = 1

PRIMITIVES: dict[str, Primitive] = {
    row.name: row
    for family in (scaling, gemmlowp, logistic, rounding, streams, exponential, spread, single)
    for row in family.ROWS
}
"""Every row by its name, each behind those that its C calls."""

COMPOUND = (
    logistic.gate_steps,
    streams.product32,
    rounding.rounded,
    spread.deviation,
    table.bit_length,
    gemmlowp.refined,
)
"""Functions of primitives that compiled loops call as well."""
