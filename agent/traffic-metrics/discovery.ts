// The discovery documents of metrics.smi-spec.io, which the API server's aggregator and kubectl read. Pure data.
import { measuredKinds } from "./kinds.ts";
import { metricsGroup, metricsVersion } from "./path.ts";

const groupVersion = { groupVersion: `${metricsGroup}/${metricsVersion}`, version: metricsVersion };

const group = { name: metricsGroup, versions: [groupVersion], preferredVersion: groupVersion };

export const discovery = {
  groups: { kind: "APIGroupList", apiVersion: "v1", groups: [group] },
  group: { kind: "APIGroup", apiVersion: "v1", ...group },
  resources: {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: groupVersion.groupVersion,
    resources: measuredKinds.flatMap(({ plural, namespaced }) => {
      const resource = { namespaced, kind: "TrafficMetrics", singularName: "" };
      return [
        { name: plural, ...resource, verbs: ["get", "list"] },
        { name: `${plural}/edges`, ...resource, verbs: ["get"] },
      ];
    }),
  },
} as const;
