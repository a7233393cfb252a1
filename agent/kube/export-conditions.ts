// Shows on every ServiceExport whether it is valid, ready and free of conflicts (KEP-1645). The composition root says what
// holds; this file writes it where it differs, and keeps the times of conditions that did not change. Run as leader.
import { isApiError } from "./api-error.ts";
import { changedConditions, type Condition } from "./condition.ts";
import type { Kube } from "./kube.ts";
import { apiVersionOf } from "./resources.ts";
import { createWriter, type Writer } from "./writer.ts";

export type ExportCondition = Condition & { readonly type: "Valid" | "Ready" | "Conflict" };

export interface ExportConditions {
  readonly namespace: string;
  readonly name: string;
  readonly conditions: readonly ExportCondition[];
}

/** An export without a wish keeps the conditions it has: silence is no statement. */
export function createExportWriter(kube: Kube): Writer<readonly ExportConditions[]> {
  return createWriter<readonly ExportConditions[]>({
    ...kube,
    name: "export conditions",
    write: async (wanted, signal) => {
      for (const item of wanted) {
        signal.throwIfAborted();
        await writeConditions(kube, item);
      }
    },
  });
}

async function writeConditions(kube: Kube, item: ExportConditions): Promise<void> {
  const resource = kube.served("ServiceExport");
  const present = kube.stores.exports.get(item.namespace, item.name);
  if (resource === undefined || present === undefined) return;
  const { generation, aside } = present;
  const conditions = changedConditions(item.conditions, aside, { generation, nowMs: kube.clock.now() });
  if (conditions === undefined) return;
  const { namespace, name } = item;
  const metadata = { namespace, name, uid: present.uid }; // the uid: not a later export of the same name
  const at = { resource, namespace, name, subresource: "status" as const };
  try {
    await kube.client.apply(
      at,
      { apiVersion: apiVersionOf(resource), kind: resource.kind, metadata, status: { conditions } },
      true,
    );
  } catch (error) {
    // deleted, or made again, meanwhile: its next version brings the next wish
    if (!isApiError(error, "not-found", "conflict")) throw error;
  }
}
