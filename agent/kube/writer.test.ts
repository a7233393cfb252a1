import { describe, expect, it } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { runTasks } from "../../shared/lifecycle.ts";
import { jsonLog } from "../../shared/log.ts";
import { ApiError } from "./api-error.ts";
import { createWriter } from "./writer.ts";

const deps = { clock: systemClock, log: jsonLog("error", () => undefined), random: () => 0 };

describe("a writer", () => {
  it("writes the newest wish and none of those it overtook", async () => {
    const written: number[] = [];
    const first = Promise.withResolvers<undefined>();
    const last = Promise.withResolvers<undefined>();
    const write = async (wanted: number) => {
      written.push(wanted);
      if (wanted === 1) await first.promise;
      if (wanted === 4) last.resolve(undefined);
    };
    const writer = createWriter<number>({ ...deps, name: "test", write });
    const abort = new AbortController();
    writer.want(1);
    const done = runTasks(abort.signal, [writer.task]);
    for (const wish of [2, 3, 4]) writer.want(wish);
    first.resolve(undefined);
    await last.promise;
    abort.abort();
    await done;
    expect(written).toEqual([1, 4]);
  });

  it("tries again after a failure of the API, with the wish of that moment", async () => {
    const written: string[] = [];
    const second = Promise.withResolvers<undefined>();
    const write = (wanted: string) => {
      written.push(wanted);
      if (written.length === 1) return Promise.reject(new ApiError("unreachable", "away"));
      second.resolve(undefined);
      return Promise.resolve();
    };
    const writer = createWriter<string>({ ...deps, name: "test", write });
    const abort = new AbortController();
    writer.want("old");
    const done = runTasks(abort.signal, [writer.task]);
    await new Promise((resolve) => setImmediate(resolve));
    writer.want("new");
    await second.promise;
    abort.abort();
    await done;
    expect(written).toEqual(["old", "new"]);
  });

  it("ends the program on what is no failure of the API", async () => {
    const writer = createWriter<string>({ ...deps, name: "test", write: () => Promise.reject(new TypeError("a bug")) });
    writer.want("x");
    await expect(runTasks(new AbortController().signal, [writer.task])).rejects.toThrow("task write test failed");
  });
});
