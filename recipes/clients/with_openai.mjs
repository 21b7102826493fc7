// The `openai` package of npm: node with_openai.mjs http://127.0.0.1:8080 [chat stream tools schema embeddings cancel]

import OpenAI from 'openai';

const [url, ...wanted] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: process.env.SOLOFILE_API_KEY ?? 'none' });
const model = 'any';

const question = (text) => [
  { role: 'system', content: 'You are a helpful assistant.' },
  { role: 'user', content: text },
];

const examples = {
  async chat() {
    const messages = question('What is the capital of France?');
    const answer = await client.chat.completions.create({ model, messages, temperature: 0 });
    console.log('chat:', answer.choices[0].message.content);
  },

  async stream() {
    const messages = question('What is the capital of France?');
    const words = [];
    for await (const piece of await client.chat.completions.create({ model, messages, temperature: 0, stream: true })) {
      if (piece.choices[0]?.delta.content) words.push(piece.choices[0].delta.content);
    }
    console.log('stream:', words.join('|'));
  },

  async tools() {
    const of = (name, description, field) => ({
      type: 'function',
      function: {
        name,
        description,
        parameters: { type: 'object', properties: { [field]: { type: 'string' } }, required: [field] },
      },
    });
    // A model of 135M parameters has to be helped to the first word of a call; a larger one needs no third message.
    const begun = { role: 'assistant', content: '<tool_call>' };
    const answer = await client.chat.completions.create({
      model,
      messages: [...question('What is the weather in Paris?'), begun],
      tools: [of('get_time', 'The time in a zone', 'zone'), of('get_weather', 'The weather', 'city')],
      tool_choice: { type: 'function', function: { name: 'get_weather' } },
      temperature: 0,
      max_tokens: 100,
    });
    const call = answer.choices[0].message.tool_calls[0].function;
    console.log('tools:', call.name, JSON.stringify(JSON.parse(call.arguments)));
  },

  async schema() {
    const city = {
      type: 'object',
      properties: {
        name: { type: 'string', maxLength: 30 },
        population: { type: 'integer', minimum: 0, maximum: 99999999 },
      },
      required: ['name', 'population'],
    };
    const answer = await client.chat.completions.create({
      model,
      messages: question('Describe Paris as JSON.'),
      response_format: { type: 'json_schema', json_schema: { name: 'city', schema: city, strict: true } },
      temperature: 0,
      max_tokens: 100,
    });
    console.log('schema:', JSON.stringify(JSON.parse(answer.choices[0].message.content)));
  },

  async embeddings() {
    const found = await client.embeddings.create({ model, input: ['a cat', 'quantum field theory'] });
    console.log('embeddings:', ...found.data.map((item) => item.embedding.length));
  },

  async cancel() {
    const messages = question('Write a very long story about a lighthouse.');
    const pieces = await client.chat.completions.create({
      model, messages, temperature: 0, max_tokens: 4000, stream: true,
    });
    let number = 0;
    for await (const _ of pieces) {
      if (++number > 10) break; // closes the connection: the server stops computing and the slot is free
    }
    const begin = performance.now();
    await client.chat.completions.create({ model, messages: question('Hello!'), max_tokens: 4 });
    console.log(`cancel: the next answer came after ${((performance.now() - begin) / 1000).toFixed(1)} s`);
  },
};

for (const name of wanted.length ? wanted : Object.keys(examples)) await examples[name]();
