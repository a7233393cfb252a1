// Import boundaries, checked by dependency-cruiser. Every rule carries its reason.
const pure =
  "^(hub/registry|hub/rotation|agent/ir|agent/smi|agent/failover|agent/xds|agent/explain/(?!re2|answer)|agent/traffic-metrics/(discovery|front-proxy|items|kinds|path|queries)\\.ts|shared/pki/(template|validate|bundle)\\.ts)";
const test = "\\.test\\.ts$|/testing/|^test-clusters/";

/** Only the named files may import the package: a second gate would mean a second way to do it. */
function gate(name, packagePattern, allowed, comment) {
  return {
    name,
    comment,
    severity: "error",
    from: { pathNot: `${allowed}|${test}` },
    to: { path: `^node_modules/${packagePattern}` },
  };
}

module.exports = {
  forbidden: [
    {
      name: "no-cycles",
      comment: "a cycle means two nouns that are one, or one that hides a third",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "shared-is-below",
      comment: "shared is what hub and agent agree on; it must not know either",
      severity: "error",
      from: { path: "^shared/", pathNot: "^shared/tooling/" },
      to: { path: "^(hub|agent|cli|deploy|test-clusters)/" },
    },
    {
      name: "hub-and-agent-meet-in-shared",
      comment: "they are separate programs that talk over shared/proto; an import would couple their releases",
      severity: "error",
      from: { path: "^hub/", pathNot: test },
      to: { path: "^agent/" },
    },
    {
      name: "agent-and-hub-meet-in-shared",
      comment: "see hub-and-agent-meet-in-shared",
      severity: "error",
      from: { path: "^agent/", pathNot: test },
      to: { path: "^hub/" },
    },
    {
      name: "pure-core-no-io",
      comment:
        "what decides is a function of its arguments: no Node API, no package, so it is testable without a cluster",
      severity: "error",
      from: { path: pure, pathNot: test },
      to: { dependencyTypes: ["core", "npm", "npm-optional", "npm-dev"] },
    },
    {
      name: "pure-core-no-shell",
      comment: "the core must not reach into the folders that wait",
      severity: "error",
      from: { path: pure, pathNot: test },
      to: { path: "^(hub/(api|store|ca)|agent/(kube/(?!json\\.ts)|ads|hub|identity|inject)|cli|deploy)/" },
    },
    {
      name: "dns-and-rules-no-io",
      comment: "what a question is answered with, and what the kernel is told, are functions of their arguments",
      severity: "error",
      from: { path: "^cli/(dns/(answer|message|zone)|redirect/rules)\\.ts$" },
      to: { dependencyTypes: ["core", "npm", "npm-optional", "npm-dev"] },
    },
    gate("redis-gate", "ioredis/", "^hub/store/", "Redis keys, scripts and time-outs live in one folder"),
    gate(
      "grpc-gate",
      "@grpc/grpc-js/",
      "^(hub/api|agent/ads|agent/hub|shared/grpc)/",
      "stream handling lives where the streams are",
    ),
    gate(
      "kubernetes-gate",
      "@kubernetes/client-node/",
      "^(agent/kube|cli)/",
      "a site must never load the Kubernetes client",
    ),
    {
      name: "a-site-has-no-kubernetes",
      comment:
        "a site reads manifests by the cluster's parsers, which are pure; nothing else of agent/kube may come along, or a laptop would load a cluster's client",
      severity: "error",
      from: { path: "^agent/(site/|site-agent|site-platform|platform|member|mesh|ads-port)", pathNot: test },
      to: { path: "^agent/(kube/(?!parse/|json\\.ts)|inject/)", reachable: true },
    },
    gate(
      "re2-gate",
      "re2js/",
      "^agent/explain/re2",
      "a user's pattern is matched in one place, and loaded there only when somebody asks",
    ),
    gate("express-gate", "express/", "^(hub|agent)/admin-http|^hub/api/", "one HTTP surface per program"),
    gate("x509-gate", "@peculiar/", "^shared/pki/x509", "the reflect polyfill must load first, so one file imports it"),
    {
      name: "no-test-code-in-production",
      comment: "fakes and builders never ship",
      severity: "error",
      from: { pathNot: `${test}|^shared/tooling/` },
      to: { path: "/testing/|\\.test\\.ts$|^test-clusters/" },
    },
    {
      name: "no-dev-dependencies-in-production",
      comment: "what ships must be installed by `npm install isthmus`",
      severity: "error",
      from: { pathNot: `${test}|^shared/tooling/|^deploy/` },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["type-only"] },
    },
    {
      name: "run-is-light",
      comment:
        "`isthmus run` lives beside every workload of a site: it reads files and starts processes, and must not weigh more",
      severity: "error",
      from: { path: "^cli/commands/run\\.ts$" },
      to: {
        path: "^node_modules/(@kubernetes|@grpc|@peculiar|protobufjs|ioredis|express|prom-client|yaml)/",
        reachable: true,
      },
    },
    {
      name: "a-signing-thread-is-light",
      comment:
        "it starts in the middle of a burst, and a program may have several: it signs by pattern and loads no package",
      severity: "error",
      from: { path: "^shared/pki/signing-worker\\.ts$" },
      to: { path: "^node_modules/", reachable: true },
    },
    {
      name: "resolvable",
      comment: "an import that does not resolve fails only when the line runs",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default"] },
  },
};
