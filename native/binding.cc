// The only C++: one replay as an object that is fed chunks and asked for its Result. No logic; words of errors are in
// native/index.ts, which also checks what comes in.
#include <napi.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "core/hak.h"
}

namespace {

constexpr size_t param_count = 0
#define X(name, value, min, max, words) +1
    HAK_PARAMS(X)
#undef X
    ;
constexpr size_t price_count = 0
#define X(name, nominal) +1
    HAK_PRICES(X)
#undef X
    ;

struct State {
  hak_replay replay{};
  volatile bool cancel = false;
  bool busy = false;
  ~State() { hak_memory_close(&replay.memory); }
};

hak_chunk ChunkOf(const Napi::Object& columns) {
  hak_chunk chunk{};
  chunk.length = columns.Get("length").As<Napi::Number>().Int64Value();
  chunk.op = columns.Get("op").As<Napi::Uint8Array>().Data();
  chunk.thread = columns.Get("thread").As<Napi::Uint32Array>().Data();
  chunk.object = columns.Get("object").As<Napi::Uint32Array>().Data();
  chunk.size_bytes = columns.Get("size_bytes").As<Napi::Float64Array>().Data();
  chunk.align = columns.Get("align").As<Napi::Uint32Array>().Data();
  chunk.site = columns.Get("site").As<Napi::Uint32Array>().Data();
  chunk.touched_pages = columns.Get("touched_pages").As<Napi::Uint32Array>().Data();
  return chunk;
}

// A configuration's parameters, in the spec's order.
void ReadConfig(const double* values, hak_config& config) {
  size_t at = 0;
#define X(name, value, min, max, words) config.name = static_cast<int64_t>(values[at++]);
  HAK_PARAMS(X)
#undef X
}

[[noreturn]] void Stale(Napi::Env env) {
  throw Napi::TypeError::New(env, "config, prices or profile of another length: rebuild with npm run build");
}

hak_prices PricesOf(const Napi::CallbackInfo& info, size_t argument) {
  const auto values = info[argument].As<Napi::Float64Array>();
  if (values.ElementLength() != price_count) Stale(info.Env());
  hak_prices prices{};
  size_t at = 0;
#define X(name, nominal) prices.name = static_cast<int64_t>(values[at++]);
  HAK_PRICES(X)
#undef X
  return prices;
}

hak_profile ProfileOf(const Napi::CallbackInfo& info, size_t argument) {
  const auto values = info[argument].As<Napi::Int32Array>();
  if (values.ElementLength() != 6) Stale(info.Env());
  return {values[0], values[1] != 0, values[2], values[3] != 0, values[4] != 0, values[5] != 0};
}

std::string ResultOf(const hak_replay& replay) {
  char* text = nullptr;
  size_t length = 0;
  FILE* out = open_memstream(&text, &length);
  const hak_measured measured{};
  hak_json_result(out, &replay, &measured);
  fclose(out);
  std::string result(text, length);
  std::free(text);
  return result;
}

class FeedWorker : public Napi::AsyncWorker {
 public:
  FeedWorker(Napi::Env env, std::shared_ptr<State> state, const Napi::Object& columns)
      : AsyncWorker(env, "hakmem.feed"),
        deferred_(Napi::Promise::Deferred::New(env)),
        state_(std::move(state)),
        chunk_(ChunkOf(columns)),
        columns_(Napi::Persistent(columns)) {
    state_->busy = true;
  }
  Napi::Promise Promise() { return deferred_.Promise(); }
  void Execute() override { hak_replay_feed(&state_->replay, &chunk_); }
  void OnOK() override {
    state_->busy = false;
    deferred_.Resolve(Napi::Number::New(Env(), static_cast<double>(state_->replay.events)));
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<State> state_;
  hak_chunk chunk_;
  Napi::ObjectReference columns_;
};

class Replay : public Napi::ObjectWrap<Replay> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "Replay",
                       {InstanceMethod<&Replay::Feed>("feed"), InstanceMethod<&Replay::FeedSync>("feedSync"),
                        InstanceMethod<&Replay::Cancel>("cancel"), InstanceMethod<&Replay::Finish>("finish")});
  }

  // new Replay(config: Float64Array, prices: Float64Array, profile: Int32Array, touch, log_from, log_to, seed)
  explicit Replay(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Replay>(info), state_(std::make_shared<State>()) {
    const auto config = info[0].As<Napi::Float64Array>();
    if (config.ElementLength() != param_count) Stale(info.Env());
    hak_replay& replay = state_->replay;
    ReadConfig(config.Data(), replay.config);
    replay.prices = PricesOf(info, 1);
    const hak_profile kernel = ProfileOf(info, 2);
    if (!hak_memory_open(&replay.memory)) throw Napi::Error::New(info.Env(), "cannot reserve 64 GiB of address space");
    replay.log_from = info[4].As<Napi::Number>().Int64Value();
    replay.log_to = info[5].As<Napi::Number>().Int64Value();
    replay.seed = info[6].As<Napi::Number>().Int64Value();
    replay.cancel = &state_->cancel;
    hak_replay_init(&replay, info[3].As<Napi::Number>().Int32Value(), kernel, nullptr);
  }

 private:
  Napi::Value Feed(const Napi::CallbackInfo& info) {
    auto* worker = new FeedWorker(info.Env(), state_, info[0].As<Napi::Object>());
    const Napi::Promise promise = worker->Promise();
    worker->Queue();
    return promise;
  }
  Napi::Value FeedSync(const Napi::CallbackInfo& info) {
    const hak_chunk chunk = ChunkOf(info[0].As<Napi::Object>());
    hak_replay_feed(&state_->replay, &chunk);
    return Napi::Number::New(info.Env(), static_cast<double>(state_->replay.events));
  }
  void Cancel(const Napi::CallbackInfo&) { state_->cancel = true; }
  Napi::Value Finish(const Napi::CallbackInfo& info) {
    if (state_->busy) throw Napi::Error::New(info.Env(), "finish while a chunk is being fed");
    hak_replay_finish(&state_->replay);
    return Napi::String::New(info.Env(), ResultOf(state_->replay));
  }

  std::shared_ptr<State> state_;
};

struct SweepState {
  hak_fold fold{};
  std::vector<std::unique_ptr<State>> states;
  bool busy = false;
  ~SweepState() { hak_memory_close(&fold.memory); }
};

class SweepWorker : public Napi::AsyncWorker {
 public:
  SweepWorker(Napi::Env env, std::shared_ptr<SweepState> state, const Napi::Object& columns)
      : AsyncWorker(env, "hakmem.sweep"),
        deferred_(Napi::Promise::Deferred::New(env)),
        state_(std::move(state)),
        chunk_(ChunkOf(columns)),
        columns_(Napi::Persistent(columns)) {
    state_->busy = true;
  }
  Napi::Promise Promise() { return deferred_.Promise(); }
  void Execute() override {
    hak_fold_add(&state_->fold, &chunk_);
    for (const auto& each : state_->states) hak_planned_feed(&each->replay, &state_->fold);
  }
  void OnOK() override {
    state_->busy = false;
    deferred_.Resolve(Env().Undefined());
  }

 private:
  Napi::Promise::Deferred deferred_;
  std::shared_ptr<SweepState> state_;
  hak_chunk chunk_;
  Napi::ObjectReference columns_;
};

// Many configurations in one pass over the trace, folded here.
class Sweep : public Napi::ObjectWrap<Sweep> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "Sweep", {InstanceMethod<&Sweep::Feed>("feed"), InstanceMethod<&Sweep::Finish>("finish")});
  }

  // new Sweep(configs: Float64Array, one after the other, prices: Float64Array, profile: Int32Array, touch, seeds: Float64Array)
  explicit Sweep(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Sweep>(info), state_(std::make_shared<SweepState>()) {
    const auto configs = info[0].As<Napi::Float64Array>();
    const hak_prices prices = PricesOf(info, 1);
    const hak_profile profile = ProfileOf(info, 2);
    const auto seeds = info[4].As<Napi::Float64Array>();
    if (configs.ElementLength() != seeds.ElementLength() * param_count) Stale(info.Env());
    int64_t floor_bytes = INT64_MAX;
    for (size_t at = 0; at < configs.ElementLength(); at += param_count) {
      state_->states.push_back(std::make_unique<State>());
      hak_replay& replay = state_->states.back()->replay;
      ReadConfig(configs.Data() + at, replay.config);
      replay.prices = prices;
      replay.terse = true;
      replay.seed = static_cast<int64_t>(seeds.Data()[at / param_count]);
      if (!hak_memory_open(&replay.memory)) throw Napi::Error::New(info.Env(), "cannot reserve 64 GiB of address space");
      hak_replay_init(&replay, info[3].As<Napi::Number>().Int32Value(), profile, nullptr);
      const int64_t lowest = hak_strategy_floor(&replay.config);
      if (lowest < floor_bytes) floor_bytes = lowest;
    }
    if (!hak_memory_open(&state_->fold.memory)) throw Napi::Error::New(info.Env(), "cannot reserve 64 GiB of address space");
    hak_fold_init(&state_->fold, floor_bytes);
  }

 private:
  Napi::Value Feed(const Napi::CallbackInfo& info) {
    auto* worker = new SweepWorker(info.Env(), state_, info[0].As<Napi::Object>());
    const Napi::Promise promise = worker->Promise();
    worker->Queue();
    return promise;
  }
  Napi::Value Finish(const Napi::CallbackInfo& info) {
    if (state_->busy) throw Napi::Error::New(info.Env(), "finish while a chunk is being fed");
    Napi::Array results = Napi::Array::New(info.Env(), state_->states.size());
    for (size_t at = 0; at < state_->states.size(); at += 1) {
      hak_planned_finish(&state_->states[at]->replay, &state_->fold);
      results.Set(static_cast<uint32_t>(at), Napi::String::New(info.Env(), ResultOf(state_->states[at]->replay)));
    }
    return results;
  }

  std::shared_ptr<SweepState> state_;
};

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Replay", Replay::Define(env));
  exports.Set("Sweep", Sweep::Define(env));
  exports.Set("fingerprint", Napi::String::New(env, HAK_SPEC_FINGERPRINT));
  return exports;
}

}  // namespace

NODE_API_MODULE(hakmem, Init)
