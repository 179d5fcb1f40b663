// Everything but gru/eigen.hpp.
#pragma once

#include "gru/file.hpp"
#include "gru/layer.hpp"
#include "gru/model.hpp"
#include "gru/optim.hpp"
#include "gru/runtime.hpp"
#include "gru/sequential.hpp"
#include "gru/sessions.hpp"
#include "gru/stepper.hpp"
#include "gru/stream.hpp"
#include "gru/types.hpp"
