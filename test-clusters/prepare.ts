// Brings onto the machine what the tests need and it lacks: system packages, Kubernetes, Envoy, helm, images. `npm test`
// runs it first, so that no test skips for want of a program; everything is cached, and warm it takes a moment.
import process from "node:process";
import { buildImages } from "../deploy/images.ts";
import { UserError } from "../shared/errors.ts";
import { causeChain } from "../shared/log.ts";
import { ensureEnvoy } from "../shared/programs/envoy.ts";
import { ensureCoredns, ensureHelm } from "./binaries/go-programs.ts";
import { ensureKube } from "./binaries/kube.ts";
import { whyNoClusters } from "./joined/host.ts";
import { ensurePackages } from "./machine/packages.ts";
import { requireContainerd, requireMachine } from "./machine/requirements.ts";
import { lineProgress, type Progress } from "../shared/progress.ts";

async function prepare(progress: Progress): Promise<void> {
  await ensurePackages(["clusters", "images", "hub"], { yes: process.env["CI"] === "true", progress });
  const layout = await requireMachine();
  const containerd = await requireContainerd();
  await ensureEnvoy(progress);
  await ensureKube({ cgroupVersion: layout.version, containerdMajor: containerd.version.major }, progress);
  await ensureHelm(progress);
  await ensureCoredns(progress);
  await buildImages((line) => progress.say(`  ${line}`));
}

const reason = await whyNoClusters();
if (reason !== undefined) process.stdout.write(`nothing is prepared for end-to-end tests: ${reason}\n`);
else {
  try {
    await prepare(lineProgress((text) => process.stdout.write(text)));
  } catch (error) {
    const code = error instanceof UserError ? error.code : "ISTHMUS_PREPARE";
    process.stderr.write(`error ${code}: ${causeChain(error).join("; caused by ")}\n`);
    process.exitCode = 1;
  }
}
