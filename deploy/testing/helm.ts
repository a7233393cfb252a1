// Renders the charts as a user's helm would. Helm comes from PATH or from the cache that the test clusters fill; where
// neither has it, it is built there once, which takes a minute or two.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { goProgramPaths, ensureHelm } from "../../test-clusters/binaries/go-programs.ts";
import { findProgram, runCommand } from "../images/command.ts";
import { checkoutRoot } from "../../shared/tooling/pack.ts";

export type ChartName = "agent" | "hub";

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

export interface Rendering {
  readonly namespace?: string;
  /** As in `--set-json KEY=VALUE`. */
  readonly values?: Readonly<Record<string, unknown>>;
}

export const helmBuildMs = 300_000;

export async function helmPath(): Promise<string> {
  const onPath = await findProgram("helm");
  if (onPath !== undefined) return onPath;
  const cached = goProgramPaths.helm();
  return existsSync(cached) ? cached : ensureHelm({ say: () => undefined, step: (_what, work) => work() });
}

export function chartFolder(chart: ChartName): string {
  return join(checkoutRoot, "deploy", "charts", chart);
}

function chartArguments({ namespace = "isthmus-system", values = {} }: Rendering): readonly string[] {
  const set = Object.entries(values).flatMap(([key, value]) => ["--set-json", `${key}=${JSON.stringify(value)}`]);
  return ["--namespace", namespace, ...set];
}

export async function renderText(helm: string, chart: ChartName, rendering: Rendering = {}): Promise<string> {
  const fixed = ["--kube-version", "1.34.0", "--include-crds"];
  return runCommand([helm, "template", "isthmus", chartFolder(chart), ...fixed, ...chartArguments(rendering)]);
}

export async function render(helm: string, chart: ChartName, rendering: Rendering = {}): Promise<readonly Manifest[]> {
  return parseManifests(await renderText(helm, chart, rendering));
}

export function parseManifests(text: string): readonly Manifest[] {
  const documents = parseAllDocuments(text);
  return documents.map((document) => document.toJS() as Manifest | null).filter((manifest) => manifest !== null);
}

export async function lint(helm: string, chart: ChartName, rendering: Rendering = {}): Promise<string> {
  return runCommand([helm, "lint", "--strict", chartFolder(chart), ...chartArguments(rendering)]);
}
