// Whether this machine can host real clusters, for those who skip when it cannot.
import { machineObjections } from "../machine/requirements.ts";

/** Undefined when clusters can be brought up here; otherwise the first reason why not. */
export async function whyNoClusters(): Promise<string | undefined> {
  const [first] = await machineObjections();
  return first;
}
