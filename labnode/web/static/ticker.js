// Timers that go on while the page is hidden: [id, milliseconds] comes back as id.
onmessage = ({ data: [id, milliseconds] }) => setTimeout(postMessage, milliseconds, id);
