// The labels of one kind of device: a model of GPU or a MIG profile. Internal to the room.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "labels/labels.h"

namespace kerf::labels {

inline constexpr std::string_view kPrefix = "nvidia.com/";

// How the devices of a kind are shared, as planned for the first of them.
struct Shared {
  unsigned replicas = 1;
  bool renamed = false;
  std::string_view strategy = "none";
};

// Of the GPU at this position, or of its MIG device at `mig`. A device that is not advertised is
// not shared.
Shared shared(const plan::Plan& plan, std::size_t gpu, std::optional<std::size_t> mig);

// The GPUs of the model that stands for the node.
struct Model {
  std::string name;
  std::vector<std::size_t> gpus;  // positions in the snapshot, MIG mode or not
  // The GPU that speaks for them: the first that is not in MIG mode, or the first.
  std::size_t first = 0;
  bool has_whole = false;  // not all are in MIG mode
};

// Needs at least one GPU. Warns when there are several models.
Model choose_model(const inventory::Snapshot& snapshot, std::vector<std::string>& warnings);

// Warns when the model's GPUs are cut into different numbers of replicas, of which the labels can
// say one only.
void warn_of_differing_shares(const plan::Plan& plan, const Model& model,
                              std::vector<std::string>& warnings);

// nvidia.com/gpu.*
void add_gpu_labels(const plan::Plan& plan, const Model& model, Labels& labels);

// mig.strategy; under single the MIG devices as nvidia.com/gpu.*, under mixed nvidia.com/mig-*.
void add_mig_labels(const plan::Plan& plan, Labels& labels, std::vector<std::string>& warnings);

}  // namespace kerf::labels
