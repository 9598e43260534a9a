import io.socket.client.IO;
import io.socket.client.Manager;
import io.socket.client.Socket;
import io.socket.engineio.client.Transport;
import io.socket.parser.Packet;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Field;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.json.JSONArray;
import org.json.JSONObject;

/**
 * Peers of the interop suite on io.socket:socket.io-client, which Android apps use. See
 * runtime.mjs for the commands and events.
 *
 * <p>The library does not recover sessions by itself. A client only has to remember two strings: the
 * private session id and the last offset.
 */
public final class Peer {
  private static final Map<String, Peer> PEERS = new ConcurrentHashMap<>();

  private final String name;
  private Socket socket;
  private Map<String, String> auth;
  private String pid;
  private boolean recovered;

  private Peer(String name) {
    this.name = name;
  }

  public static void main(String[] arguments) throws Exception {
    BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = input.readLine(); line != null; line = input.readLine()) {
      JSONObject task = new JSONObject(line);
      Peer peer = PEERS.computeIfAbsent(task.getString("peer"), Peer::new);
      switch (task.getString("do")) {
        case "connect" -> peer.connect(task);
        case "emit" -> peer.emit(task);
        case "transport" -> answer(task, peer.transport());
        default -> {
          if (peer.socket != null) {
            peer.socket.disconnect();
          }
          answer(task, JSONObject.NULL);
        }
      }
    }
    System.exit(0);
  }

  private void connect(JSONObject task) throws Exception {
    IO.Options options = new IO.Options();
    options.forceNew = true;
    options.reconnectionDelay = 100;
    options.reconnectionDelayMax = 500;
    if (!task.isNull("transports")) {
      options.transports = texts(task.getJSONArray("transports")).toArray(new String[0]);
    }
    options.extraHeaders = new HashMap<>();
    strings(task.getJSONObject("headers")).forEach((key, value) -> options.extraHeaders.put(key, List.of(value)));
    auth = strings(task.getJSONObject("auth"));
    options.auth = auth;
    boolean recovers = task.getBoolean("recovers");
    socket = IO.socket(URI.create(task.getString("url")), options);
    socket.io().on("packet", found -> note((Packet<?>) found[0], recovers));
    socket.on(Socket.EVENT_CONNECT, none -> {
      JSONObject fields = new JSONObject();
      put(fields, "event", "connect");
      put(fields, "transport", transport());
      put(fields, "recovered", recovered);
      tell(fields);
    });
    socket.on(Socket.EVENT_CONNECT_ERROR, found -> {
      JSONObject data = found[0] instanceof JSONObject error ? error.optJSONObject("data") : null;
      JSONObject fields = new JSONObject();
      put(fields, "event", "connect_error");
      put(fields, "code", data == null ? JSONObject.NULL : data.opt("code"));
      tell(fields);
    });
    socket.onAnyIncoming(this::received);
    socket.connect();
  }

  /** Returns the name of the transport in use, which the library does not tell. */
  private String transport() {
    try {
      Field engine = Manager.class.getDeclaredField("engine");
      Field used = io.socket.engineio.client.Socket.class.getDeclaredField("transport");
      engine.setAccessible(true);
      used.setAccessible(true);
      return ((Transport) used.get(engine.get(socket.io()))).name;
    } catch (ReflectiveOperationException error) {
      throw new IllegalStateException(error);
    }
  }

  /** Notes what a recovery needs, before the library handles the packet. */
  private void note(Packet<?> packet, boolean recovers) {
    if (packet.type == io.socket.parser.Parser.CONNECT && packet.data instanceof JSONObject data) {
      String next = data.optString("pid");
      recovered = next.equals(pid);
      pid = next;
      if (recovers) {
        auth.put("pid", pid);
      }
    } else if (recovers && packet.type == io.socket.parser.Parser.EVENT && packet.data instanceof JSONArray data) {
      if (data.opt(data.length() - 1) instanceof String offset) {
        auth.put("offset", offset);
      }
    }
  }

  private void received(Object... event) {
    JSONObject fields = new JSONObject();
    put(fields, "event", "message");
    put(fields, "name", event[0]);
    put(fields, "payload", event.length > 1 ? event[1] : JSONObject.NULL);
    tell(fields);
  }

  private void emit(JSONObject task) throws Exception {
    JSONArray payloads = task.getJSONArray("payloads");
    for (int i = 0; i < payloads.length(); i++) {
      Object[] arguments = {payloads.get(i)};
      socket.emit(task.getString("name"), arguments, found -> answer(task, found[0]));
    }
  }

  private void tell(JSONObject fields) {
    put(fields, "peer", name);
    print(fields);
  }

  private static void answer(JSONObject task, Object answer) {
    JSONObject fields = new JSONObject();
    put(fields, "task", task.opt("task"));
    put(fields, "answer", answer == null ? JSONObject.NULL : answer);
    print(fields);
  }

  private static synchronized void print(JSONObject fields) {
    System.out.println(fields);
    System.out.flush();
  }

  private static void put(JSONObject object, String key, Object value) {
    try {
      object.put(key, value == null ? JSONObject.NULL : value);
    } catch (org.json.JSONException error) {
      throw new IllegalStateException(error);
    }
  }

  private static Map<String, String> strings(JSONObject object) throws Exception {
    Map<String, String> strings = new ConcurrentHashMap<>();
    for (Iterator<?> keys = object.keys(); keys.hasNext(); ) {
      String key = (String) keys.next();
      strings.put(key, object.getString(key));
    }
    return strings;
  }

  private static List<String> texts(JSONArray array) throws Exception {
    List<String> texts = new ArrayList<>();
    for (int i = 0; i < array.length(); i++) {
      texts.add(array.getString(i));
    }
    return texts;
  }
}
