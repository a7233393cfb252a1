// Entry of every `npm run`: works on a bare checkout and on any Node that can parse ES modules.
// It installs the npm packages when the lock file changed since the last install, then runs the named
// TypeScript file on Node 24 (the pinned one from node_modules, else the one on PATH), which needs no build step.
// It must not import anything but node:*, because nothing else is there yet.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED_MAJOR = 24;
const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

function stop(line) {
  process.stderr.write(`${line}\n`);
  process.exit(1);
}

/** Content hash of the lock file: the one thing that decides whether node_modules is current. */
function lockDigest() {
  return createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
}

/** A lock directory, so that two commands started side by side do not run npm over each other. */
function withInstallLock(work) {
  const lock = join(root, ".cache", "install.lock");
  mkdirSync(join(root, ".cache"), { recursive: true });
  const deadline = Date.now() + 300_000;
  for (;;) {
    try {
      mkdirSync(lock);
      writeFileSync(join(lock, "pid"), String(process.pid));
      break;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      if (!holderAlive(lock)) rmSync(lock, { recursive: true, force: true });
      else if (Date.now() > deadline) stop(`another install holds ${lock}; remove it if none is running`);
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    }
  }
  try {
    work();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function holderAlive(lock) {
  const pidFile = join(lock, "pid");
  if (!existsSync(pidFile)) return true;
  const pid = Number(readFileSync(pidFile, "utf8"));
  if (!pid) return true;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function installPackages() {
  const stamp = join(root, "node_modules", ".isthmus-lock");
  const current = () => existsSync(stamp) && readFileSync(stamp, "utf8") === lockDigest();
  if (current()) return;
  withInstallLock(() => {
    if (current()) return;
    const started = Date.now();
    process.stderr.write("installing npm packages (npm ci)\n");
    const args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    const done = spawnSync("npm", args, { cwd: root, stdio: ["ignore", 2, 2] });
    if (done.status !== 0)
      stop("npm ci failed: see its message above; a registry that cannot be reached is the usual cause");
    writeFileSync(stamp, lockDigest());
    process.stderr.write(`installed in ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  });
}

function major(node) {
  const answer = spawnSync(node, ["-p", "process.versions.node"], { encoding: "utf8" });
  return answer.status === 0 ? Number(answer.stdout.split(".")[0]) : 0;
}

function findNode() {
  const pinned = join(root, "node_modules", `node-linux-${process.arch}`, "bin", "node");
  if (existsSync(pinned)) return pinned;
  if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) return process.execPath;
  if (major("node") >= NEEDED_MAJOR) return "node";
  return stop(
    `Isthmus needs Node ${NEEDED_MAJOR} or newer (this is ${process.versions.node}); install it from nodejs.org`,
  );
}

installPackages();
const [script, ...args] = process.argv.slice(2);
if (!script) stop("usage: launch.mjs FILE.ts [ARGUMENT ...]");
const node = findNode();
const path = `${dirname(node)}:${join(root, "node_modules", ".bin")}:${process.env.PATH}`;
const argv = ["--disable-warning=ExperimentalWarning", join(root, script), ...args];
const env = { ...process.env, PATH: path };
if (process.execve && isAbsolute(node)) become(node, argv, env);
else runBelow(node, argv, env);

/** In the place of this process: a launcher that only waits would hold 40 MB for as long as its program lives. */
function become(program, argv, env) {
  process.emitWarning = () => {}; // execve is experimental, says Node, and a person can do nothing about it
  process.execve(program, [program, ...argv], env);
}

/** Node before 22.15 has no execve. */
function runBelow(program, argv, env) {
  const child = spawn(program, argv, { stdio: "inherit", env });
  // Ctrl-C reaches the child by the terminal; a signal sent to this process alone is passed on.
  for (const signal of ["SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  process.on("SIGINT", () => {});
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? (signal === "SIGINT" ? 130 : 1);
  });
}
