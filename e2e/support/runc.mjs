// Runs images of `scripts/images` under runc, with the restrictions that the chart gives its pods.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { within } from "./until.mjs";

/** Why runc cannot run here; `undefined` if it can. */
export const runcMissing = (() => {
  if (process.getuid() !== 0) return "runc needs root here";
  if (spawnSync("runc", ["--version"]).status !== 0) return "there is no runc";
  // A container without the privilege to make another one.
  const namespaces = ["--mount", "--pid", "--ipc", "--uts", "--fork"];
  return spawnSync("unshare", [...namespaces, "true"]).status === 0 ? undefined : "this machine forbids namespaces";
})();

const readJson = (...path) => JSON.parse(readFileSync(join(...path)));
const blob = ({ digest }) => join("blobs", ...digest.split(":"));

/** Unpacks an OCI archive to `folder/rootfs`. Returns the image's configuration and its digest. */
export function unpack(archive, folder) {
  const [layout, rootfs] = ["layout", "rootfs"].map((name) => join(folder, name));
  for (const path of [layout, rootfs]) mkdirSync(path, { recursive: true });
  execFileSync("tar", ["-xf", archive, "-C", layout]);
  const [target] = readJson(layout, "index.json").manifests;
  const manifest = readJson(layout, blob(target));
  for (const layer of manifest.layers) execFileSync("tar", ["-xzf", join(layout, blob(layer)), "-C", rootfs]);
  return { ...readJson(layout, blob(manifest.config)), digest: target.digest };
}

/** A running container, in the network of this machine. */
export class Container {
  #process;
  #name;
  /** Everything that the program has written. */
  output = "";

  /**
   * Starts an unpacked image with its own user and entry point, a read-only root and no capability.
   * @param {string} folder the folder of `unpack`
   * @param {object} image the configuration that `unpack` returned
   */
  constructor(folder, image, variables) {
    const [uid, gid] = image.config.User.split(":").map(Number);
    const environment = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    const bundle = {
      ociVersion: "1.0.2",
      root: { path: "rootfs", readonly: true },
      process: {
        user: { uid, gid },
        args: image.config.Entrypoint,
        env: [...image.config.Env, ...environment],
        cwd: image.config.WorkingDir,
        noNewPrivileges: true,
        capabilities: {},
      },
      mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
      linux: { namespaces: ["pid", "ipc", "uts", "mount"].map((type) => ({ type })) },
    };
    mkdirSync(join(folder, "rootfs/proc"), { recursive: true });
    writeFileSync(join(folder, "config.json"), JSON.stringify(bundle));
    this.#name = `switchboard-${process.pid}-${image.config.Labels["org.opencontainers.image.title"].split(" ")[1]}`;
    this.#process = spawn("runc", ["run", "--bundle", folder, this.#name]);
    for (const stream of [this.#process.stdout, this.#process.stderr]) stream.on("data", (data) => (this.output += data));
  }

  /** Exit code of the program; `null` while it runs. */
  get exitCode() {
    return this.#process.exitCode;
  }

  /** Sends the image's stop signal. Resolves with the exit code of the program. */
  async stop(bound) {
    const exited = this.exitCode === null ? once(this.#process, "exit") : [this.exitCode];
    spawnSync("runc", ["kill", this.#name, "TERM"]);
    return (await within("the container stops", exited, bound))[0];
  }

  /** Ends the container at once. */
  remove() {
    spawnSync("runc", ["delete", "--force", this.#name]);
  }
}
