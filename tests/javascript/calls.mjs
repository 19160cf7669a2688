// The calls of ../client_calls.py by the official JavaScript clients.
//
//     node calls.mjs @elastic/elasticsearch|@opensearch-project/opensearch plain|gzip URL … < calls.json
//
// gzip: bodies are packed, and answers may be. Prints, for each address, what the client understood of each answer.

import { readFileSync } from "node:fs";

const [library, coding, ...urls] = process.argv.slice(2);
const { Client } = await import(library);
const isElastic = library.startsWith("@elastic/");
const calls = JSON.parse(readFileSync(0, "utf8"));

const BODIES = { bulk: "operations", msearch: "searches", index: "document", create: "document" };
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** The method `name`, bound to what it belongs to. */
function method(client, name) {
  const parts = name.split(".").map(camel);
  const last = parts.pop();
  const owner = parts.reduce((object, part) => object[part], client);
  return owner[last].bind(owner);
}

/** A call's arguments as the client takes them: OpenSearch's has a `body`, Elasticsearch's takes its members. */
function given({ call, arguments: named, body, params }) {
  if (!isElastic) return { ...named, ...params, ...(body === null ? {} : { body }) };
  const inside = body === null ? {} : BODIES[call] ? { [BODIES[call]]: body } : body;
  return { ...named, ...params, ...inside };
}

const HELPERS = {
  async bulk(client, { arguments: { index, documents } }) {
    const { total, successful } = await client.helpers.bulk({
      datasource: structuredClone(documents),
      refreshOnCompletion: index,
      onDocument(document) {
        const { _id } = document;
        delete document._id;
        return { index: { _index: index, _id } };
      },
    });
    return { total, successful };
  },
  async scan(client, { arguments: named, body }) {
    const out = [];
    const asked = isElastic ? { ...named, ...body } : { ...named, body };
    for await (const page of client.helpers.scrollSearch(asked)) out.push(...page.documents);
    return out;
  },
};

/** What was understood: the body, or the status and the body of an error, or the name of what the client raised. */
async function answer(client, call) {
  try {
    const helper = call.call.startsWith("helpers.") && HELPERS[call.call.slice(8)];
    if (helper) return await helper(client, call);
    const got = await method(client, call.call)(given(call));
    return isElastic ? got : got.body;
  } catch (error) {
    const { statusCode, body } = error.meta ?? {};
    return { raised: error.name, status: statusCode ?? null, error: body ?? null };
  }
}

async function understood(url) {
  const packed = coding === "gzip" ? { compression: isElastic ? true : "gzip" } : {};
  const client = new Client({ node: url, maxRetries: 0, ...packed });
  const known = {};
  const out = [];
  for (const call of calls) {
    const text = Object.entries(known).reduce((all, [name, id]) => all.replaceAll(name, id), JSON.stringify(call));
    const got = await answer(client, JSON.parse(text));
    if (got?._scroll_id) known.$scroll = got._scroll_id;
    if (got?.pit_id) known.$pit = got.pit_id;
    if (call.call === "open_point_in_time" && got?.id) known.$pit = got.id;
    out.push(got);
  }
  await client.close();
  return out;
}

const answers = [];
for (const url of urls) answers.push(await understood(url));
process.stdout.write(JSON.stringify(answers));
