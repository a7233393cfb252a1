// A workload that no manifest declares is declared by `isthmus run` itself: a Workload manifest in the site's data folder, there
// for as long as the program runs. Whoever may write there may claim an account: the folder's mode is the authorisation.
import { access, constants, mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { UserError } from "../../shared/errors.ts";
import {
  pidAnnotation,
  readCredentialFolder,
  registrationFile,
  workloadFolder,
} from "../../agent/site/credential-folder.ts";
import {
  linkWhereNothingIs,
  pidOfRegistration,
  readRegistration,
  removeRegistration,
} from "../../agent/site/registration-file.ts";
import { isAlive } from "../child-process.ts";
import type { Workload } from "./options.ts";

/** Written as JSON, which is YAML: the manifest's author needs no YAML library. Pure. */
export function workloadManifest(workload: Workload, pid: number): object {
  const { namespace, name, serviceAccount, service, ports, health, redirect, user } = workload;
  const [first] = ports;
  const spec = {
    serviceAccount,
    ...(service === "" ? {} : { service }),
    ports: ports.map(({ port, applicationPort, protocol }) => ({
      name: `${protocol === "" ? "http" : protocol}-${port}`,
      port,
      ...(protocol === "" ? {} : { appProtocol: protocol }),
      application: `127.0.0.1:${applicationPort}`,
    })),
    ...(health === undefined || first === undefined ? {} : { healthCheck: healthCheck(health, first.applicationPort) }),
    ...(redirect ? { redirect } : {}),
    ...(user === "" ? {} : { user }),
  };
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Workload",
    metadata: { name, namespace, annotations: { [pidAnnotation]: String(pid) } },
    spec,
  };
}

function healthCheck(health: NonNullable<Workload["health"]>, port: number): object {
  return health === "tcp" ? { tcp: true, port } : { path: health.path, port };
}

/** Claims the workload's name. A name that a living process holds stays its own; a dead one's is taken over. */
export async function register(dataDir: string, workload: Workload): Promise<void> {
  const path = registrationFile(dataDir, workload);
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = join(dirname(path), `.${workload.namespace}.${workload.name}.${process.pid}`);
  await writeFile(draft, `${JSON.stringify(workloadManifest(workload, process.pid), undefined, 2)}\n`, { mode: 0o600 });
  try {
    while (!(await linkWhereNothingIs(draft, path))) {
      const pid = await registeredPid(path);
      if (pid !== undefined && isAlive(pid)) throw taken(workload, pid);
      await removeRegistration(path, (text) => !isAlive(pidOfRegistration(text)));
    }
  } finally {
    await rm(draft, { force: true });
  }
}

/** Removes the registration if it is this process's own. */
export async function deregister(dataDir: string, workload: Workload): Promise<void> {
  await removeRegistration(registrationFile(dataDir, workload), (text) => pidOfRegistration(text) === process.pid);
}

export function taken({ namespace, name }: Workload, pid: number): UserError {
  return new UserError("ISTHMUS_WORKLOAD_TAKEN", `the workload ${namespace}/${name} runs already, as process ${pid}`, {
    hint: "end that process, or give this one another name: --name",
  });
}

/** Before anything is written: the folder is there, and this user may write to it. */
export async function checkDataFolder(dataDir: string): Promise<void> {
  const found = await access(dataDir, constants.W_OK | constants.X_OK).catch((error: unknown) => error);
  if (found === undefined) return;
  if ((found as NodeJS.ErrnoException).code === "EACCES") {
    throw new UserError("ISTHMUS_SITE_DATA", `${dataDir} belongs to another user`, {
      hint: "run as the site's user; or declare the workload in a manifest and use --credential with a copy of its folder",
    });
  }
  throw new UserError("ISTHMUS_SITE_DATA", `${dataDir} is no data folder of a site`, {
    hint: "name it with --data; start the site: isthmus site --data DIR --manifests DIR",
  });
}

async function registeredPid(path: string): Promise<number | undefined> {
  const text = await readRegistration(path);
  return text === undefined ? undefined : pidOfRegistration(text);
}

/** Whether a manifest of the site declares it: it has a credential folder that no registration has brought about. */
export async function isDeclared(dataDir: string, workload: Workload, uid: number | undefined): Promise<boolean> {
  if ((await registeredPid(registrationFile(dataDir, workload))) !== undefined) return false;
  return (await readCredentialFolder(workloadFolder(dataDir, workload), uid)) !== undefined;
}
