// `npm test`: what is missing on the machine, then the check, the tests with real parts, a smoke test on sites, the end-to-end core
// on clusters. The README's second command.
import { spawnSync } from "node:child_process";
import process from "node:process";
import { buildNativeModule } from "./native-module.ts";

const stages = [
  ["shared/tooling/check.ts"],
  ["shared/tooling/check.ts", "--only", "features"],
  ["test-clusters/e2e.ts", "smoke", "core"],
];

buildNativeModule("pkcs11js", (line) => process.stderr.write(`${line}\n`));
let failed = 0;
for (const [script, ...args] of stages) {
  const done = spawnSync(process.execPath, [script ?? "", ...args], { stdio: "inherit" });
  if (done.error) throw new Error(`cannot start ${script ?? ""}`, { cause: done.error });
  if (done.status !== 0) failed += 1;
}
process.exitCode = failed === 0 ? 0 : 1;
