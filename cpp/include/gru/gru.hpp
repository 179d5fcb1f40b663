// Everything.
#pragma once

#include "gru/layer.hpp"
#include "gru/model.hpp"
#include "gru/runtime.hpp"
#include "gru/stream.hpp"
#include "gru/types.hpp"
