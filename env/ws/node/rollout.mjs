// Steps an environment and prints what it returned, as numbers to compare:
//   node rollout.mjs URL SCENARIO ROWS AUTORESET STEPS SEED
import { Env } from "./client.mjs";

const [url, scenario, rows, autoreset, steps, seed] = process.argv.slice(2);
const env = await Env.make(url, scenario, { num_envs: Number(rows), autoreset });
const out = [...(await env.reset({ seed })).obs];
for (let k = 0; k < steps; k++) {
  const r = await env.step(Array.from({ length: rows * env.S }, (_, i) => Math.floor((k * 7 + i * 3) / 5) % 2));
  out.push(...r.obs, ...r.reward, ...r.terminated, ...r.truncated, ...(r.final_obs ?? []));
}
const refused = await env.step([9]).then(() => "accepted", (e) => e.code);
await env.close();
console.log(JSON.stringify({ out, refused }));
