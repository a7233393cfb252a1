// Resources of one type as a golden file shows them. Never imported by what ships.
import { stringify } from "yaml";
import type { JsonMessage, ResourceType } from "../resource.ts";

/** Empty: no file. Only clients have filters in ECDS; of every other type an empty file says that there is nothing. */
export function goldenText(type: ResourceType, messages: readonly JsonMessage[]): string {
  if (type === "ecds" && messages.length === 0) return "";
  return stringify(messages, { lineWidth: 160, aliasDuplicateObjects: false });
}
