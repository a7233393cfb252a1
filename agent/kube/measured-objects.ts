// Objects that traffic metrics are asked of, by the API server's own selectors. They are listed when somebody asks, never watched: a
// cluster's Deployments are nothing to the mesh.
import type { TrafficSplitInput } from "../ir/inputs.ts";
import { ApiError } from "./api-error.ts";
import type { KubeClient } from "./client.ts";
import { fieldOf, stringOf } from "./json.ts";
import { parseTrafficSplit } from "./parse/traffic-split.ts";
import { pods, trafficSplits, type ResourceType } from "./resources.ts";

export interface ObjectSelection {
  /** Empty: every namespace. */
  readonly namespace: string;
  /** Empty: all. */
  readonly name: string;
  readonly labelSelector: string;
  readonly fieldSelector: string;
}

const PAGE = 500;
/** A list of more is a question for Prometheus. */
const MAX_OBJECTS = 10_000;

export type ObjectLister = Pick<KubeClient, "listPage">;

async function listAll(
  client: ObjectLister,
  resource: ResourceType,
  { namespace, name, labelSelector, fieldSelector }: ObjectSelection,
  signal: AbortSignal,
): Promise<readonly unknown[]> {
  const fields = [fieldSelector, name === "" ? "" : `metadata.name=${name}`].filter((one) => one !== "").join(",");
  const selection = {
    ...(labelSelector === "" ? {} : { labelSelector }),
    ...(fields === "" ? {} : { fieldSelector: fields }),
  };
  const at = { resource, ...(namespace === "" ? {} : { namespace }) };
  const items: unknown[] = [];
  let next = "";
  do {
    const page = await client.listPage(at, { ...selection, limit: PAGE, next }, signal);
    items.push(...page.items);
    if (items.length > MAX_OBJECTS)
      throw new ApiError("invalid", `more than ${MAX_OBJECTS} ${resource.plural}: ask for a namespace or a label`, {
        status: 400,
      });
    ({ next } = page);
  } while (next !== "");
  return items;
}

export async function listNames(
  client: ObjectLister,
  resource: ResourceType,
  selection: ObjectSelection,
  signal: AbortSignal,
): Promise<readonly { readonly namespace: string; readonly name: string }[]> {
  const items = await listAll(client, resource, selection, signal);
  return items.map((item) => ({
    namespace: stringOf(fieldOf(item, "metadata", "namespace")),
    name: stringOf(fieldOf(item, "metadata", "name")),
  }));
}

export interface ListedPod {
  readonly namespace: string;
  readonly name: string;
  /** Empty while it is not scheduled. */
  readonly node: string;
  /** `ReplicaSet cart-5d9c7b` */
  readonly owners: readonly string[];
}

export async function listPods(
  client: ObjectLister,
  selection: ObjectSelection,
  signal: AbortSignal,
): Promise<readonly ListedPod[]> {
  const items = await listAll(client, pods, selection, signal);
  return items.map((item) => {
    const owners = fieldOf(item, "metadata", "ownerReferences");
    const text = (owner: unknown) => `${stringOf(fieldOf(owner, "kind"))} ${stringOf(fieldOf(owner, "name"))}`;
    return {
      namespace: stringOf(fieldOf(item, "metadata", "namespace")),
      name: stringOf(fieldOf(item, "metadata", "name")),
      node: stringOf(fieldOf(item, "spec", "nodeName")),
      owners: Array.isArray(owners) ? owners.map(text) : [],
    };
  });
}

/** What cannot be read splits nothing, and is not measured. */
export async function listSplits(
  client: ObjectLister,
  selection: ObjectSelection,
  signal: AbortSignal,
): Promise<readonly TrafficSplitInput[]> {
  const items = await listAll(client, trafficSplits, selection, signal);
  return items.flatMap((item) => {
    const split = parseTrafficSplit(item);
    return split.ok && split.value !== undefined ? [split.value] : [];
  });
}
