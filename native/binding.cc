// The only C++: one replay as an object that is fed chunks and asked for its Result. No logic; words of errors are in
// native/index.ts, which also checks what comes in.
#include <napi.h>

#include <cstdlib>
#include <memory>
#include <string>

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

  // new Replay(config: Float64Array, prices: Float64Array, profile: Int32Array, touch, log_from, log_to)
  explicit Replay(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Replay>(info), state_(std::make_shared<State>()) {
    const auto config = info[0].As<Napi::Float64Array>();
    const auto prices = info[1].As<Napi::Float64Array>();
    const auto profile = info[2].As<Napi::Int32Array>();
    if (config.ElementLength() != param_count || prices.ElementLength() != price_count || profile.ElementLength() != 5)
      throw Napi::TypeError::New(info.Env(), "config, prices or profile of another length: rebuild with npm run build");
    hak_replay& replay = state_->replay;
    size_t at = 0;
#define X(name, value, min, max, words) replay.config.name = static_cast<int64_t>(config[at++]);
    HAK_PARAMS(X)
#undef X
    at = 0;
#define X(name, nominal) replay.prices.name = static_cast<int64_t>(prices[at++]);
    HAK_PRICES(X)
#undef X
    const hak_profile kernel = {profile[0], profile[1] != 0, profile[2], profile[3] != 0, profile[4] != 0};
    if (!hak_memory_open(&replay.memory)) throw Napi::Error::New(info.Env(), "cannot reserve 64 GiB of address space");
    replay.log_from = info[4].As<Napi::Number>().Int64Value();
    replay.log_to = info[5].As<Napi::Number>().Int64Value();
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

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Replay", Replay::Define(env));
  exports.Set("fingerprint", Napi::String::New(env, HAK_SPEC_FINGERPRINT));
  return exports;
}

}  // namespace

NODE_API_MODULE(hakmem, Init)
