// Field values: the numbered way to the same facts, each with a status of its own.

#include "abi_extra.h"
#include "links.h"

using namespace nvmlsim;

namespace {

Return put_u32(FieldValue& f, u64 value) {
  f.value_type = kValueU32;
  f.value.uint64 = 0;
  f.value.uint32 = static_cast<u32>(value);
  return kSuccess;
}

Return put_u64(FieldValue& f, u64 value) {
  f.value_type = kValueU64;
  f.value.uint64 = value;
  return kSuccess;
}

Return put_i32(FieldValue& f, int value) {
  f.value_type = kValueI32;
  f.value.uint64 = 0;
  f.value.i32 = value;
  return kSuccess;
}

u64 ecc_sum(const GpuLive& live, u32 type, u32 counter) {
  u64 sum = 0;
  for (const u64 n : live.ecc[type][counter]) sum += n;
  return sum;
}

Return ecc_field(const View& v, FieldValue& f) {
  if (!v.spec->ecc) return kErrorNotSupported;
  const GpuLive& live = v.live;
  switch (f.field_id) {
    case 1:
      return put_u32(f, live.ecc_mode);
    case 2:
      return put_u32(f, live.ecc_pending);
    case 3:
      return put_u64(f, ecc_sum(live, 0, 0));
    case 4:
      return put_u64(f, ecc_sum(live, 1, 0));
    case 5:
      return put_u64(f, ecc_sum(live, 0, 1));
    case 6:
      return put_u64(f, ecc_sum(live, 1, 1));
    default:
      break;
  }
  // 7-28: pairs corrected/uncorrected by location, volatile then aggregate; CBU has one of a pair.
  constexpr u8 kLocations[] = {0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 6};
  const u32 at = f.field_id - 7;
  const u32 counter = at / 11, which = at % 11;
  return put_u64(f, live.ecc[which == 10 ? 1 : which % 2][counter][kLocations[which]]);
}

Return retired_field(const View& v, FieldValue& f) {
  if (!v.spec->page_retirement) return kErrorNotSupported;
  if (f.field_id == 29) return put_u64(f, v.live.retired_single);
  if (f.field_id == 30) return put_u64(f, v.live.retired_double);
  return put_u64(f, v.live.retired_pending);
}

Return remap_field(const View& v, FieldValue& f) {
  if (!v.spec->row_remapper) return kErrorNotSupported;
  const u64 values[] = {v.live.remap_corrected, v.live.remap_uncorrected, v.live.remap_pending,
                        v.live.remap_failed};
  return put_u32(f, values[f.field_id - 142]);
}

Return policy_field(const View& v, FieldValue& f) {
  const Reading r = v.read();
  const u64 values[] = {r.violation_ns[0], r.violation_ns[1], 0, r.violation_ns[2], 0, 0};
  return f.field_id <= 79 ? put_u64(f, values[f.field_id - 74]) : kErrorNotSupported;
}

// Error totals: L0-L5 then the sum (32-59), L6-L11 (96-119), new DL counters (161-163).
Return link_error_field(const View& v, FieldValue& f) {
  if (v.spec->link_count == 0) return kErrorNotSupported;
  constexpr u8 kCounters[] = {2, 3, 0, 1};  // CRC flit, CRC data, replay, recovery
  const u32 id = f.field_id;
  u32 counter = 0, link = kNone;
  if (id >= 32 && id <= 59) {
    counter = kCounters[(id - 32) / 7];
    if ((id - 32) % 7 < 6) link = (id - 32) % 7;
  } else if (id >= 96 && id <= 119) {
    counter = kCounters[(id - 96) / 6];
    link = 6 + (id - 96) % 6;
  } else {
    counter = id == 161 ? 0 : id == 162 ? 1 : 2;
    if (f.scope_id < v.spec->link_count) link = f.scope_id;
  }
  u64 sum = 0;
  for (u32 i = 0; i < v.spec->link_count; ++i)
    if (link == kNone || link == i) sum += v.live.link_errors[i][counter];
  if (link != kNone && link >= v.spec->link_count) return kErrorNotSupported;
  return put_u64(f, sum);
}

Return link_field(const View& v, FieldValue& f) {
  const u32 links = v.spec->link_count;
  if (f.field_id == kFieldNvLinkCount) return put_u32(f, links);
  if (links == 0) return kErrorNotSupported;
  const u32 link = f.scope_id < links ? f.scope_id : 0;
  switch (f.field_id) {
    case 84:
    case 85:
    case 86:
    case 87:
    case 88:
    case 89:
    case 90:
    case 132:
    case 133:
    case 134:
    case 135:
    case 136:
    case 137:
      return put_u32(f, v.spec->link_mbps);
    case 138:
    case 140:
      return put_u64(f, link_kib(v, true));
    case 139:
    case 141:
      return put_u64(f, link_kib(v, false));
    case 146:
      return put_u32(f, link);
    case 147: {
      u32 count = 0;
      for (u32 i = 0; i < links; ++i) count += v.spec->links[i].remote_type == kNvLinkToSwitch;
      return put_u32(f, count);
    }
    case 164:
      return put_u32(f, v.spec->link_mbps);
    case 165:
      return put_u32(f, link_up(v, link));
    case 166:
      return put_u32(f, v.spec->link_version);
    default:
      return link_error_field(v, f);
  }
}

Return power_field(const View& v, FieldValue& f) {
  const Reading r = v.read();
  if (f.field_id == 185 || f.field_id == 186) {
    if (!v.spec->power_usage) return kErrorNotSupported;
    if (f.scope_id > 1) return kErrorNotSupported;
    return put_u32(f, f.field_id == 185 ? r.power_mean_mw : r.power_mw);
  }
  if (f.field_id == 191 || f.field_id == kFieldTotalEnergy)
    return v.spec->power_usage ? put_u64(f, r.energy_mj) : kErrorNotSupported;
  if (!v.spec->power_limits) return kErrorNotSupported;
  switch (f.field_id) {
    case 187:
      return put_u32(f, v.spec->power_min_mw);
    case 188:
      return put_u32(f, v.spec->power_max_mw);
    case 189:
      return put_u32(f, v.spec->power_default_mw);
    case 190:
      return put_u32(f, r.enforced_mw);
    default:
      return put_u32(f, r.limit_mw);
  }
}

Return margin_field(const View& v, FieldValue& f) {
  if (!v.spec->temp_margins) return kErrorNotSupported;
  const int values[] = {-8, -2, 0, 0};  // shutdown, slowdown, memory, GPU
  return put_i32(f, values[f.field_id - 193]);
}

bool between(u32 id, u32 low, u32 high) { return id >= low && id <= high; }

Return field(const View& v, FieldValue& f) {
  const u32 id = f.field_id;
  if (between(id, 1, 28)) return ecc_field(v, f);
  if (between(id, 29, 31)) return retired_field(v, f);
  if (between(id, 32, 59) || between(id, 84, 91) || between(id, 96, 119) || between(id, 132, 141) ||
      id == 146 || id == 147 || between(id, 161, 166))
    return link_field(v, f);
  if (between(id, 74, 81)) return policy_field(v, f);
  if (id == kFieldMemoryTemperature)
    return v.spec->memory_temp ? put_u32(f, v.read().memory_temperature) : kErrorNotSupported;
  if (id == kFieldTotalEnergy || between(id, 185, 192)) return power_field(v, f);
  if (id == kFieldPcieReplayCounter) return put_u32(f, v.live.pcie_replays);
  if (id == 95) return put_u32(f, 0);
  if (between(id, 142, 145)) return remap_field(v, f);
  if (id == 170) return put_u32(f, 0);
  if (id == kFieldResetlessMigSupported) return put_u32(f, v.spec->architecture >= kArchHopper);
  if (between(id, 193, 196)) return margin_field(v, f);
  if (id == kFieldRecoveryAction) return put_u32(f, v.live.recovery_action);
  if (between(id, 269, 271)) {
    const Reading r = v.read();
    return put_u64(f, id == 271 ? r.violation_ns[3] : r.violation_ns[1]);
  }
  return id == 0 || id > 302 ? kErrorInvalidArgument : kErrorNotSupported;
}

}  // namespace

SIM_API Return nvmlDeviceGetFieldValues(Device device, int count, FieldValue* values) {
  return on_device(__func__, device, {values}, kMigToo, [&](const View& v) {
    if (count <= 0) return kErrorInvalidArgument;
    bool filled = false;
    for (int i = 0; i < count; ++i) {
      FieldValue& f = values[i];
      f.timestamp = static_cast<std::int64_t>(wall_us());
      f.latency_usec = 1;
      f.nvml_return = v.is_mig() ? kErrorNotSupported : field(v, f);
      filled = filled || f.nvml_return == kSuccess;
    }
    return filled ? kSuccess : static_cast<Return>(values[0].nvml_return);
  });
}

SIM_API Return nvmlDeviceClearFieldValues(Device device, int count, FieldValue* values) {
  return on_gpu(__func__, device, {values}, [&](const View&) {
    if (count <= 0) return kErrorInvalidArgument;
    for (int i = 0; i < count; ++i) values[i].nvml_return = kSuccess;
    return kSuccess;
  });
}
