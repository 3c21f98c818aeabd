// ECC, page retirement, row remapping.

#include <cstring>

#include "abi_extra.h"
#include "library.h"

using namespace nvmlsim;

namespace {

u64 total(const GpuLive& live, u32 type, u32 counter) {
  u64 sum = 0;
  for (const u64 n : live.ecc[type][counter]) sum += n;
  return sum;
}

Return retired(const char* symbol, Device device, u32 cause, u32* count, u64* addresses,
               u64* stamps) {
  return on_gpu(symbol, device, {count}, [&](const View& v) {
    if (!v.spec->page_retirement) return kErrorNotSupported;
    if (cause > 1) return kErrorInvalidArgument;
    const u64 pages = cause ? v.live.retired_double : v.live.retired_single;
    const u32 room = *count, found = static_cast<u32>(pages);
    *count = found;
    if (!addresses || room < found) return found ? kErrorInsufficientSize : kSuccess;
    for (u32 i = 0; i < found; ++i) {
      addresses[i] = 0x1000ULL * (v.spec->seed % 100000 + i);
      if (stamps) stamps[i] = 0;
    }
    return kSuccess;
  });
}

}  // namespace

SIM_API Return nvmlDeviceGetEccMode(Device device, u32* current, u32* pending) {
  return on_gpu(__func__, device, {current, pending}, [&](const View& v) {
    if (!v.spec->ecc) return kErrorNotSupported;
    *current = v.live.ecc_mode;
    return give(pending, v.live.ecc_pending);
  });
}
SIM_API Return nvmlDeviceGetDefaultEccMode(Device device, u32* mode) {
  return on_gpu(__func__, device, {mode},
                [&](const View& v) { return v.spec->ecc ? give(mode, 1) : kErrorNotSupported; });
}
SIM_API Return nvmlDeviceSetEccMode(Device device, u32 mode) {
  return on_gpu(__func__, device, {device}, [&](const View& v) {
    if (!v.spec->ecc) return kErrorNotSupported;
    if (mode > 1) return kErrorInvalidArgument;
    return mutate([&](Shared& shared) {
      shared.live[v.gpu].ecc_pending = mode;
      return kSuccess;
    });
  });
}
SIM_API Return nvmlDeviceClearEccErrorCounts(Device device, u32 counter) {
  return on_gpu(__func__, device, {device}, [&](const View& v) {
    if (!v.spec->ecc) return kErrorNotSupported;
    if (counter > 1) return kErrorInvalidArgument;
    return mutate([&](Shared& shared) {
      for (int type = 0; type < 2; ++type)
        std::memset(shared.live[v.gpu].ecc[type][counter], 0, sizeof(u64) * 8);
      return kSuccess;
    });
  });
}
SIM_API Return nvmlDeviceGetTotalEccErrors(Device device, u32 type, u32 counter, u64* count) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    if (!v.spec->ecc) return kErrorNotSupported;
    if (type > 1 || counter > 1) return kErrorInvalidArgument;
    return give(count, total(v.live, type, counter));
  });
}
SIM_API Return nvmlDeviceGetMemoryErrorCounter(Device device, u32 type, u32 counter, u32 location,
                                               u64* count) {
  return on_gpu(__func__, device, {count}, [&](const View& v) {
    if (!v.spec->ecc) return kErrorNotSupported;
    if (type > 1 || counter > 1 || location > 7) return kErrorInvalidArgument;
    return give(count, v.live.ecc[type][counter][location]);
  });
}
SIM_API Return nvmlDeviceGetDetailedEccErrors(Device device, u32 type, u32 counter,
                                              EccErrorCounts* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    if (!v.spec->ecc) return kErrorNotSupported;
    if (type > 1 || counter > 1) return kErrorInvalidArgument;
    const u64* n = v.live.ecc[type][counter];
    *out = {n[0], n[1], n[2], n[3]};
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetSramEccErrorStatus(Device device, EccSramErrorStatus* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    if (out->version != version_word<EccSramErrorStatus>(1)) return kErrorArgumentVersionMismatch;
    if (!v.spec->ecc || v.spec->architecture < kArchAmpere) return kErrorNotSupported;
    const u32 version = out->version;
    std::memset(out, 0, sizeof(*out));
    out->version = version;
    out->agg_unc_secded = v.live.ecc[1][1][7];
    out->agg_cor = v.live.ecc[0][1][7];
    out->vol_unc_secded = v.live.ecc[1][0][7];
    out->vol_cor = v.live.ecc[0][0][7];
    out->agg_sm = v.live.ecc[1][1][7];
    out->threshold_exceeded = v.live.ecc[1][1][7] > 3;
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetRetiredPages(Device device, u32 cause, u32* count, u64* addresses) {
  return retired(__func__, device, cause, count, addresses, nullptr);
}
SIM_API Return nvmlDeviceGetRetiredPages_v2(Device device, u32 cause, u32* count, u64* addresses,
                                            u64* stamps) {
  return retired(__func__, device, cause, count, addresses, stamps);
}
SIM_API Return nvmlDeviceGetRetiredPagesPendingStatus(Device device, u32* pending) {
  return on_gpu(__func__, device, {pending}, [&](const View& v) {
    return v.spec->page_retirement ? give(pending, v.live.retired_pending) : kErrorNotSupported;
  });
}
SIM_API Return nvmlDeviceGetRemappedRows(Device device, u32* corrected, u32* uncorrected,
                                         u32* pending, u32* failed) {
  return on_gpu(__func__, device, {corrected, uncorrected, pending, failed}, [&](const View& v) {
    if (!v.spec->row_remapper) return kErrorNotSupported;
    *corrected = static_cast<u32>(v.live.remap_corrected);
    *uncorrected = static_cast<u32>(v.live.remap_uncorrected);
    *pending = v.live.remap_pending;
    return give(failed, v.live.remap_failed);
  });
}
SIM_API Return nvmlDeviceGetRemappedRows_v2(Device device, RemappedRowsV2* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    if (!v.spec->row_remapper) return kErrorNotSupported;
    *out = {static_cast<u32>(v.live.remap_corrected),
            0,
            static_cast<u32>(v.live.remap_uncorrected),
            0,
            v.live.remap_pending,
            v.live.remap_failed};
    return kSuccess;
  });
}
SIM_API Return nvmlDeviceGetRowRemapperHistogram(Device device, RowRemapperHistogram* out) {
  return on_gpu(__func__, device, {out}, [&](const View& v) {
    if (!v.spec->row_remapper) return kErrorNotSupported;
    const u32 used = static_cast<u32>(v.live.remap_corrected + v.live.remap_uncorrected);
    const u32 banks = v.spec->remap_banks;
    const u32 partial = used < banks ? used : banks;
    *out = {banks - partial, 0, partial, 0, v.live.remap_failed};
    return kSuccess;
  });
}
