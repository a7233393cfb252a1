import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";

const module = new URL("./interruption.ts", import.meta.url).href;
const program = `
  import { stayUntilInterrupted } from ${JSON.stringify(module)};
  const stop = new AbortController();
  process.on("SIGTERM", () => stop.abort());
  console.log("everything is up");
  await stayUntilInterrupted(stop.signal);
  console.log("taken down");
`;

test("a demo that has nothing more to do stays until it is interrupted, and then takes everything down", async () => {
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  child.stdout.once("data", () => child.kill("SIGTERM"));
  const [said] = await Promise.all([text(child.stdout), once(child, "close")]);
  expect(said).toBe("everything is up\ntaken down\n");
  expect(child.exitCode).toBe(0);
});
