"""What a trained network does inside: gradients through time, memory and idle units."""

from __future__ import annotations

from gru.diagnostics.flow import GradientFlow, StateFlow, gradient_flow
from gru.diagnostics.units import Units, half_life, units

__all__ = ["GradientFlow", "StateFlow", "Units", "gradient_flow", "half_life", "units"]
