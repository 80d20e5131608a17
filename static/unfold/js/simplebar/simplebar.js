// In place of django-unfold's painted scroll bars (8 kB): browsers' own work by keyboard. Its script asks for this name.
globalThis.SimpleBar = { instances: new WeakMap() };
