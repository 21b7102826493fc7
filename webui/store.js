// What the browser keeps: IndexedDB, or memory where it is forbidden, full or broken. Nothing that was written is lost
// while the page is open: what the database does not take stays in memory, and the reader is told.

const TABLES = { chats: "id", messages: "id", things: "name" };

// Opens the database `name`; `onTrouble(error)` is told once when something could not be kept.
export async function openStore(name, onTrouble) {
  try {
    return new Store(await opened(name), onTrouble);
  } catch (error) {
    const store = new Store(null, onTrouble);
    store.trouble(error);
    return store;
  }
}

function opened(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      for (const [table, keyPath] of Object.entries(TABLES)) request.result.createObjectStore(table, { keyPath });
      request.transaction.objectStore("messages").createIndex("chat", "chat");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    request.onblocked = () => reject(new DOMException("blocked", "BlockedError"));
  });
}

export class Store {
  constructor(database, onTrouble) {
    this.database = database;
    this.onTrouble = onTrouble;
    this.troubled = false;
    // By table: what is not in the database, null for what was removed but is still in it.
    this.memory = Object.fromEntries(Object.keys(TABLES).map((table) => [table, new Map()]));
  }

  // Everything in a table; of the messages, those of one chat if it is given.
  async all(table, chat = null) {
    const found = new Map();
    for (const record of await this.read(table, chat)) found.set(record[TABLES[table]], record);
    for (const [key, record] of this.memory[table]) {
      if (record === null) found.delete(key);
      else if (chat === null || record.chat === chat) found.set(key, record);
    }
    return [...found.values()];
  }

  async get(name) {
    const records = await this.all("things");
    return records.find((record) => record.name === name)?.value;
  }

  set(name, value) {
    return this.put("things", [{ name, value }]);
  }

  put(table, records) {
    const keyed = records.map((record) => [record[TABLES[table]], record]);
    return this.write(table, keyed, (objects) => records.forEach((record) => objects.put(record)));
  }

  remove(table, keys) {
    return this.write(table, keys.map((key) => [key, null]), (objects) => keys.forEach((key) => objects.delete(key)));
  }

  async read(table, chat) {
    if (!this.database) return [];
    try {
      const objects = this.database.transaction(table).objectStore(table);
      return await result(chat === null ? objects.getAll() : objects.index("chat").getAll(chat));
    } catch (error) {
      this.trouble(error);
      return [];
    }
  }

  async write(table, keyed, action) {
    try {
      if (!this.database) throw new DOMException("closed", "InvalidStateError");
      const transaction = this.database.transaction(table, "readwrite");
      action(transaction.objectStore(table));
      transaction.commit(); // now: a page that is closed would lose it
      await done(transaction);
      for (const [key] of keyed) this.memory[table].delete(key);
    } catch (error) {
      for (const [key, record] of keyed) this.memory[table].set(key, structuredClone(record));
      this.trouble(error);
    }
  }

  trouble(error) {
    if (this.troubled) return;
    this.troubled = true;
    this.onTrouble(error);
  }
}

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function done(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}
