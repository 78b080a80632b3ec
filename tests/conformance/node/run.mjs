// Every ask of standard input, answered by every client of this file: what its user's code sees.
//
//     node run.mjs < asks.json > seen.json
//
// In: {"asks": [...], "urls": {...}, "model", "tool", "picture", "leave_ms"}. Out: {client: {ask: line}}.
import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false; // they go to standard output, which holds the lines
const world = JSON.parse(await text(process.stdin));
const Animal = z.object({ animal: z.string() });

async function text(stream) {
  let all = "";
  for await (const piece of stream) all += piece;
  return all;
}

function line(fields) {
  return Object.entries(fields)
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
    .join(", ");
}

function raised(error, fields, how = "raises") {
  const name = error instanceof DOMException ? error.name : error.constructor.name;
  return [`${how} ${name}`, line(fields)].filter(Boolean).join(": ");
}

function calls(found) {
  return found.map(([name, args]) => `${name}(${args})`).join(" ");
}

const certified = (made) => (made?.guardrail?.certificate ? true : undefined);

// openai

function openaiContent(ask) {
  if (!ask.picture) return ask.prompt;
  const image = { type: "image_url", image_url: { url: world.picture } };
  return [{ type: "text", text: ask.prompt }, image];
}

function openaiInput(ask) {
  if (!ask.picture) return ask.prompt;
  const image = { type: "input_image", image_url: world.picture, detail: "auto" };
  return [{ role: "user", content: [{ type: "input_text", text: ask.prompt }, image] }];
}

async function openaiChat(client, ask) {
  const asked = {
    model: world.model,
    messages: [{ role: "user", content: openaiContent(ask) }],
    ...(ask.tool && { tools: [world.tool] }),
  };
  if (ask.stream) return openaiStream(client, asked);
  const made = ask.schema
    ? await client.chat.completions.parse({
        ...asked,
        response_format: zodResponseFormat(Animal, "animal"),
      })
    : await client.chat.completions.create(asked);
  const [{ message, finish_reason }] = made.choices;
  const found = (message.tool_calls ?? []).map((c) => [c.function.name, c.function.arguments]);
  return line({
    content: message.content,
    refusal: message.refusal,
    tool_calls: calls(found),
    finish_reason,
    certificate: certified(made),
  });
}

async function openaiStream(client, asked) {
  const stream = client.chat.completions.stream({
    ...asked,
    stream_options: { include_usage: true },
  });
  let certificate;
  stream.on("chunk", (chunk) => {
    certificate ??= certified(chunk);
  });
  const made = await stream.finalChatCompletion();
  const [{ message, finish_reason }] = made.choices;
  const found = (message.tool_calls ?? []).map((c) => [c.function.name, c.function.arguments]);
  return line({
    content: message.content,
    refusal: message.refusal,
    tool_calls: calls(found),
    finish_reason,
    usage: made.usage.total_tokens,
    certificate,
  });
}

async function openaiResponse(client, ask) {
  const { strict: _, ...described } = { ...world.tool.function };
  const asked = {
    model: world.model,
    input: openaiInput(ask),
    ...(ask.tool && { tools: [{ type: "function", ...described, strict: false }] }),
  };
  if (ask.schema) {
    const format = zodTextFormat(Animal, "animal");
    return openaiSaid(await client.responses.parse({ ...asked, text: { format } }));
  }
  if (ask.again) {
    const { output } = await client.responses.create(asked);
    const before = [{ role: "user", content: asked.input }, ...output];
    asked.input = [...before, { role: "user", content: ask.again }];
  }
  if (!ask.stream) return openaiSaid(await client.responses.create(asked));
  let end;
  for await (const event of await client.responses.create({ ...asked, stream: true })) end = event;
  return openaiSaid(end.response);
}

function openaiSaid(made) {
  const parts = made.output.filter((item) => item.type === "message").flatMap((i) => i.content);
  const found = made.output.filter((item) => item.type === "function_call");
  return line({
    output_text: parts.filter((p) => p.type === "output_text").map((p) => p.text).join(""),
    refusal: parts.find((part) => part.type === "refusal")?.refusal,
    tool_calls: calls(found.map((item) => [item.name, item.arguments])),
    status: made.status,
    incomplete: made.incomplete_details?.reason,
    certificate: certified(made),
  });
}

async function openai(ask) {
  if (ask.api === "messages") return null;
  const timeout = ask.leave ? world.leave_ms : 30_000;
  const baseURL = world.urls[ask.proxy];
  const client = new OpenAI({ baseURL, apiKey: "k", maxRetries: 0, timeout });
  try {
    return await (ask.api === "chat" ? openaiChat(client, ask) : openaiResponse(client, ask));
  } catch (error) {
    return raised(error, {
      status: error.status,
      code: error.code,
      "retry-after": error.headers?.get("retry-after"),
      message: error.message.includes(world.blocked) ? world.blocked : undefined,
    });
  }
}

// @anthropic-ai/sdk

function anthropicContent(ask) {
  if (!ask.picture) return ask.prompt;
  const data = world.picture.slice(world.picture.indexOf(",") + 1);
  const source = { type: "base64", media_type: "image/png", data };
  return [{ type: "text", text: ask.prompt }, { type: "image", source }];
}

async function anthropicAsked(client, ask) {
  const { name, description, parameters } = world.tool.function;
  const asked = {
    model: world.model,
    max_tokens: 99,
    messages: [{ role: "user", content: anthropicContent(ask) }],
    ...(ask.tool && { tools: [{ name, description, input_schema: parameters }] }),
    ...(ask.schema && {
      output_config: { format: { type: "json_schema", schema: z.toJSONSchema(Animal) } },
    }),
  };
  if (ask.again) {
    const { role, content } = await client.messages.create(asked);
    asked.messages.push({ role, content }, { role: "user", content: ask.again });
  }
  if (!ask.stream) return anthropicSaid(await client.messages.create(asked));
  const stream = client.messages.stream(asked);
  let about;
  for await (const event of stream) if (event.type === "message_delta") about = event.guardrail;
  return anthropicSaid(await stream.finalMessage(), about);
}

function anthropicSaid(made, about) {
  const uses = made.content.filter((block) => block.type === "tool_use");
  return line({
    text: made.content.map((block) => (block.type === "text" ? block.text : "")).join(""),
    tool_use: calls(uses.map((use) => [use.name, JSON.stringify(use.input)])),
    stop_reason: made.stop_reason,
    stop_details: made.stop_details?.explanation,
    output_tokens: made.usage.output_tokens,
    certificate: certified(made) ?? certified({ guardrail: about }),
  });
}

async function anthropic(ask) {
  if (ask.api !== "messages") return null;
  const baseURL = world.urls[ask.proxy].replace(/\/v1$/, "");
  const client = new Anthropic({ baseURL, apiKey: "k", maxRetries: 0 });
  try {
    return await anthropicAsked(client, ask);
  } catch (error) {
    return raised(error, {
      status: error.status,
      type: error.error?.error?.type,
      error_code: error.error?.error?.details?.error_code,
      "retry-after": error.headers?.get("retry-after"),
      message: error.message.includes(world.blocked) ? world.blocked : undefined,
    });
  }
}

// ai with @ai-sdk/openai-compatible, with @ai-sdk/openai, which speaks the Responses API, and with
// @ai-sdk/anthropic

const weather = tool({
  description: world.tool.function.description,
  inputSchema: jsonSchema(world.tool.function.parameters),
});

function vercelContent(ask) {
  if (!ask.picture) return ask.prompt;
  return [
    { type: "text", text: ask.prompt },
    { type: "image", image: world.picture },
  ];
}

function compatible(baseURL) {
  return createOpenAICompatible({
    name: "guardrail",
    baseURL,
    apiKey: "k",
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
}

async function vercelAsked(ask, provider) {
  const asked = {
    model: provider(world.urls[ask.proxy])(world.model),
    messages: [{ role: "user", content: vercelContent(ask) }],
    maxRetries: 0,
    ...(ask.tool && { tools: { weather } }),
    ...(ask.leave && { abortSignal: AbortSignal.timeout(world.leave_ms) }),
  };
  if (ask.schema) {
    return line({ object: (await generateObject({ ...asked, schema: Animal })).object });
  }
  if (ask.again) {
    const first = await generateText(asked);
    asked.messages.push(...first.response.messages, { role: "user", content: ask.again });
  }
  return ask.stream ? vercelStream(asked) : vercelSaid(await generateText(asked));
}

async function vercelStream(asked) {
  let failed;
  const made = streamText({ ...asked, onError: ({ error }) => (failed = error) });
  let said = "";
  for await (const piece of made.textStream) said += piece;
  if (failed) return vercelRaised(failed, "onError gets");
  return vercelSaid({
    text: said,
    toolCalls: await made.toolCalls,
    finishReason: await made.finishReason,
    rawFinishReason: await made.rawFinishReason,
    totalUsage: await made.totalUsage,
  });
}

function vercelSaid(made) {
  return line({
    text: made.text,
    toolCalls: calls(made.toolCalls.map((c) => [c.toolName, JSON.stringify(c.input)])),
    finishReason: made.finishReason,
    rawFinishReason: made.rawFinishReason,
    usage: made.totalUsage.totalTokens,
    certificate: certified(made.response?.body),
  });
}

const vercel = (api, provider) => async (ask) => {
  if (ask.api !== api) return null; // each provider speaks one of the two
  try {
    return await vercelAsked(ask, provider);
  } catch (error) {
    return vercelRaised(error);
  }
};

function vercelRaised(error, how) {
  const fields = {
    statusCode: error.statusCode,
    finishReason: error.finishReason,
    code: error.data?.error?.code ?? (typeof error.code === "string" ? error.code : undefined),
    "retry-after": error.responseHeaders?.["retry-after"],
    message: String(error.message).includes(world.blocked) ? world.blocked : undefined,
  };
  return raised(error, fields, how);
}

const clients = {
  "openai (Node)": openai,
  "ai + @ai-sdk/openai-compatible": vercel("chat", compatible),
  "@anthropic-ai/sdk (Node)": anthropic,
  "ai + @ai-sdk/anthropic": vercel("messages", (baseURL) =>
    createAnthropic({ baseURL, apiKey: "k" }),
  ),
  "ai + @ai-sdk/openai": vercel("responses", (baseURL) => createOpenAI({ baseURL, apiKey: "k" })),
};
const seen = {};
for (const [name, client] of Object.entries(clients)) {
  seen[name] = {};
  for (const ask of world.asks) seen[name][ask.name] = await client(ask);
}
process.stdout.write(JSON.stringify(seen));
