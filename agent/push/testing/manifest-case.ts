// A golden case: manifests as users write them and what hub and configuration add (input/), seen by one proxy (case.yaml).
// It goes the agent's own way: parsers, buildIr, classify. Never imported by what ships.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { Problem } from "../../../shared/result.ts";
import { buildIr } from "../../ir/build.ts";
import { inputsOf } from "../../ir/testing/manifests.ts";
import type { MeshIr } from "../../ir/types.ts";
import type { ProxyClass } from "../../xds/proxy.ts";
import { classify } from "../classify.ts";

export const testdata = join(import.meta.dirname, "..", "testdata");
export const caseNames: readonly string[] = readdirSync(testdata);

type CaseProxy = { readonly kind: "gateway" } | { readonly kind: "sidecar"; readonly podUid: string };

export interface ManifestCase {
  readonly ir: MeshIr;
  readonly problems: readonly Problem[];
  readonly proxy: ProxyClass;
}

const gateway = { namespace: "isthmus-system", serviceAccount: "isthmus-gateway" };

export function readManifestCase(name: string): ManifestCase {
  const folder = join(testdata, name);
  const manifests = readdirSync(join(folder, "input")).map((file) => readFileSync(join(folder, "input", file), "utf8"));
  const { ir, problems } = buildIr(inputsOf(manifests.join("---\n")));
  const { proxy } = parse(readFileSync(join(folder, "case.yaml"), "utf8")) as { readonly proxy: CaseProxy };
  const classified = classify(ir, peerOf(ir, proxy), gateway);
  if (classified === undefined) throw new Error(`${name}: no workload of the mesh is ${JSON.stringify(proxy)}`);
  return { ir, problems, proxy: classified.proxy };
}

function peerOf(ir: MeshIr, proxy: CaseProxy) {
  if (proxy.kind === "gateway") return { kind: proxy.kind, ...gateway, podUid: "" };
  const { podUid } = proxy;
  const { namespace = "", serviceAccount = "" } = ir.workloads.find((workload) => workload.podUid === podUid) ?? {};
  return { kind: proxy.kind, namespace, serviceAccount, podUid };
}
