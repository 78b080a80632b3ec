// A conversation with every client of this file: each sends back what it kept of the answers.
//
//     node turns.mjs < conversation.json > ended.json
//
// In: {"url", "turns": [{"prompt", "picture", "streamed"}], "tool", "result", "picture"}. Out: {client: null or
// what ended its conversation}. Each client asks a model of its own name.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, jsonSchema, streamText, tool } from "ai";
import OpenAI from "openai";

const world = JSON.parse(await text(process.stdin));

async function text(stream) {
  let all = "";
  for await (const piece of stream) all += piece;
  return all;
}

async function converse({ say, answer }) {
  for (const turn of world.turns) {
    const calls = await say(turn);
    if (calls.length > 0) await answer(calls, turn);
  }
}

// openai

function openai() {
  return new OpenAI({ baseURL: world.url, apiKey: "k", maxRetries: 0, timeout: 60_000 });
}

function openaiChat(model) {
  const client = openai();
  const messages = [];
  async function ask(streamed) {
    const asked = { model, messages, tools: [world.tool] };
    const { completions } = client.chat;
    const made = await (streamed
      ? completions.stream(asked).finalChatCompletion()
      : completions.create(asked));
    const [{ message }] = made.choices;
    messages.push(message);
    return message.tool_calls ?? [];
  }
  return {
    say({ prompt, picture, streamed }) {
      const image = { type: "image_url", image_url: { url: world.picture } };
      const content = picture ? [{ type: "text", text: prompt }, image] : prompt;
      messages.push({ role: "user", content });
      return ask(streamed);
    },
    answer(calls, { streamed }) {
      for (const { id } of calls) {
        messages.push({ role: "tool", tool_call_id: id, content: world.result });
      }
      return ask(streamed);
    },
  };
}

function openaiResponses(model) {
  const client = openai();
  const { strict: _, ...described } = { ...world.tool.function };
  const input = [];
  async function ask(streamed) {
    const asked = { model, input, tools: [{ type: "function", ...described, strict: false }] };
    let made;
    if (streamed) {
      const events = await client.responses.create({ ...asked, stream: true });
      for await (const event of events) made = event.response;
    } else {
      made = await client.responses.create(asked);
    }
    input.push(...made.output);
    return made.output.filter((item) => item.type === "function_call");
  }
  return {
    say({ prompt, picture, streamed }) {
      const image = { type: "input_image", image_url: world.picture, detail: "auto" };
      const content = [{ type: "input_text", text: prompt }, ...(picture ? [image] : [])];
      input.push({ role: "user", content });
      return ask(streamed);
    },
    answer(calls, { streamed }) {
      for (const { call_id } of calls) {
        input.push({ type: "function_call_output", call_id, output: world.result });
      }
      return ask(streamed);
    },
  };
}

// ai with either of its providers

const weather = tool({
  description: world.tool.function.description,
  inputSchema: jsonSchema(world.tool.function.parameters),
});

const vercel = (provider) => (name) => {
  const messages = [];
  async function ask(streamed) {
    const asked = { model: provider()(name), messages, maxRetries: 0, tools: { weather } };
    const made = streamed ? await vercelStream(asked) : await generateText(asked);
    const [response, calls] = [await made.response, await made.toolCalls];
    messages.push(...response.messages);
    return calls;
  }
  return {
    say({ prompt, picture, streamed }) {
      const parts = [{ type: "text", text: prompt }, { type: "image", image: world.picture }];
      messages.push({ role: "user", content: picture ? parts : prompt });
      return ask(streamed);
    },
    answer(calls, { streamed }) {
      const content = calls.map(({ toolCallId, toolName }) => ({
        type: "tool-result",
        toolCallId,
        toolName,
        output: { type: "text", value: world.result },
      }));
      messages.push({ role: "tool", content });
      return ask(streamed);
    },
  };
};

async function vercelStream(asked) {
  let failed;
  const made = streamText({ ...asked, onError: ({ error }) => (failed = error) });
  await made.consumeStream();
  if (failed) throw failed;
  return made;
}

const at = { baseURL: world.url, apiKey: "k" };
const clients = {
  "openai (Node)": openaiChat,
  "openai (Node), Responses": openaiResponses,
  "ai + @ai-sdk/openai-compatible": vercel(() => createOpenAICompatible({ name: "guarded", ...at })),
  "ai + @ai-sdk/openai": vercel(() => createOpenAI(at)),
};
const ended = {};
for (const [name, client] of Object.entries(clients)) {
  try {
    await converse(client(name));
    ended[name] = null;
  } catch (error) {
    ended[name] = `${error.constructor.name}: ${error.message}`;
  }
}
process.stdout.write(JSON.stringify(ended));
