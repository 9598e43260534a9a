//! One sentence about each field of the OpenAPI document whose type does not describe it. A field
//! means the same in every place, so its name is enough; where it does not, the name of the schema
//! comes before it.

use serde_json::Value;

/// Fields, and their descriptions. The first entry that fits is used.
const DESCRIPTIONS: &[(&str, &str)] = &[
    ("Query.state", "Events in this state only"),
    ("Query.callId", "Events of this call only"),
    ("events", "Types of the events that the webhook receives"),
    ("eventId", "Id of the event; without it all that failed are sent again"),
    ("previousSeconds", "Time for which the previous secret signs too; a day by default"),
    ("webhookId", "Id of the webhook; for a URL of the deployment, the beginning of the SHA-256 of the URL"),
    ("url", "URL that receives events: `https`, or `http` outside of production"),
    ("Query.from", "First day, or a time of it: the whole day counts, UTC. By default the first of the month of `to`"),
    ("Query.to", "Last day, or a time of it: the whole day counts, UTC. By default today; at most 366 days"),
    ("Node.id", "Id of the node's process"),
    ("Room.participants", "Participants with a seat"),
    ("Message.id", "Id of the message"),
    ("Message.from", "User or guest that sent it"),
    ("Message.message", "Plain text: do not display it as markup"),
    ("Message.timestamp", "Time of the message"),
    ("SentEvent.id", "Id of the event, as participants get it"),
    ("UserToken.expiresAt", "Time at which the token expires"),
    ("Session.id", "Id of the sign-in"),
    ("Session.createdAt", "Time of the sign-in"),
    ("User._id", "Same as `id`, under the name that clients of the old Node.js backend read"),
    ("User.id", "Id of the user"),
    ("User.createdAt", "Time of the registration"),
    ("User.updatedAt", "Time of the last change of the profile"),
    ("Index.name", "Name of the service"),
    ("Version.name", "Name of the service"),
    ("Version.api", "Version of the REST contract"),
    ("Failure.message", "What is wrong with the field"),
    ("Failure.field", "Name of the field"),
    ("Valid.email", "E-mail address of the token's owner"),
    ("Valid.valid", "True: an invalid token is refused"),
    ("Health.timestamp", "Time of the answer"),
    ("CallParticipant.joinedAt", "Time of the first join"),
    ("CallParticipant.leftAt", "Time of the last leave; null while present"),
    ("ParticipantPresence.joinedAt", "Time of the first join"),
    ("ParticipantPresence.leftAt", "Time of the last leave; null while present"),
    ("Period.startedAt", "Time at which the first participant connected"),
    ("Period.endedAt", "Time of the period's end"),
    ("appId", "Id of the app"),
    ("limits", "Limits of the app; those that are missing stay, and null removes one"),
    ("disabled", "Whether every key and every identity source of the app is refused"),
    ("identitySources", "Other sign-ins whose tokens identify users of the app: all of them, or null for none"),
    ("keyId", "Public id of the API key"),
    ("metadata", "Data of the app about its user"),
    ("scopes", "What the key may do"),
    ("after", "Position behind which the page begins: `pagination.next`, or the last room of the page before"),
    ("auth", "Path of the accounts"),
    ("avatar", "URL of the profile picture"),
    ("ban", "Whether the user is banned, for the life of the room"),
    ("callId", "Id of the call"),
    ("confirmPassword", "The new password once more"),
    ("connectionId", "Socket.IO id of the last connection"),
    ("created", "Time of the call's creation"),
    ("createdAt", "Time of the creation"),
    ("currentParticipants", "Participants with a seat now"),
    ("currentPassword", "Password of the account until now"),
    ("description", "What the call is about"),
    ("docs", "Path of this reference"),
    ("durationMs", "Duration in milliseconds"),
    ("email", "E-mail address, in lower case"),
    ("endDate", "Last time of creation, included; a day means its last millisecond, UTC"),
    ("ended", "Time of the call's end"),
    ("endedAt", "Time of the call's end; null before it"),
    ("expiresAt", "Time at which the sign-in expires"),
    ("expiresIn", "Lifetime of the token in seconds"),
    ("guestName", "Name of a caller without an account"),
    ("hasPasscode", "Whether joining needs a passcode"),
    ("health", "Path of the health check"),
    ("hostId", "Id of the host"),
    ("_id", "Same as `id`, under the name that clients of the old Node.js backend read"),
    ("id", "Id of the call, or of the sign-in in a path under `/auth`"),
    ("invitedUserIds", "Ids of the invited users; they find the call in their list"),
    ("isConnected", "Whether the participant is present now"),
    ("kind", "Medium that is switched off"),
    ("lastUsedAt", "Time of the last renewal of its tokens"),
    ("limit", "Most entries on the page"),
    ("locked", "Whether the room is locked for newcomers"),
    ("maxConcurrentParticipants", "Most seats that were taken at the same time"),
    ("maxParticipants", "Number of seats"),
    ("name", "Name that other users see"),
    ("newPassword", "New password"),
    ("openapi", "Path of the OpenAPI document"),
    ("order", "Direction of the sort"),
    ("origins", "Web origins on whose pages user tokens are accepted: all of them; none, or null, for all pages"),
    ("page", "Number of the page, from 1"),
    ("passcode", "Passcode of the call; null removes it where a call is changed"),
    ("password", "Password of the account"),
    ("peerId", "Peer id of the participant in the room"),
    ("permissions", "What the user may do in calls, besides the rights of the role"),
    ("reason", "Reason that the participant gets"),
    ("recordingEnabled", "Hint for clients: record the call"),
    ("refreshToken", "Refresh token of the sign-in; it works once"),
    ("requiresAuth", "Whether joining needs an account"),
    ("requiresPasscode", "Whether joining needs a passcode"),
    ("role", "Role in the call"),
    ("room", "The only room that the token is good for"),
    ("roomId", "Room id: the code in the call's link"),
    ("scheduled", "Date of the call"),
    ("scheduledAt", "Date of the call; null if it has none"),
    ("search", "Text in the title or the description, without regard to case"),
    ("settings", "Settings of the call; a setting that is missing has its default, or stays as it is"),
    ("sort", "Field by which the calls are sorted"),
    ("startDate", "First time of creation, included; a day means its first millisecond, UTC"),
    ("started", "Time at which the first participant connected"),
    ("startedAt", "Time at which the first participant connected; null before it"),
    ("status", "Status of the calls"),
    ("sub", "Id of the app's user"),
    ("title", "Title of the call"),
    ("to", "Peer id of the only receiver; everyone in the call without it"),
    ("totalCalls", "Calls hosted and joined"),
    ("totalHosted", "Calls that the user hosted"),
    ("totalParticipants", "All who joined"),
    ("totalParticipated", "Calls of others that the user joined"),
    ("type", "Who may join: everyone, users with an account, or invited users"),
    ("updatedAt", "Time of the last change"),
    ("userId", "Id of the user or guest"),
    ("version", "Version of the service"),
    ("videoCalls", "Path of the calls"),
];

/// Returns the description of a field. `owner` is the schema that has it, `Query` for a parameter;
/// empty for a field of a body.
pub(super) fn description(owner: &str, field: &str) -> Option<&'static str> {
    let fits = |name: &str| match name.split_once('.') {
        Some((schema, last)) => schema == owner && last == field,
        None => name == field,
    };
    DESCRIPTIONS.iter().find(|(name, _)| fits(name)).map(|(_, sentence)| *sentence)
}

/// Adds descriptions to the fields of a schema that have none, and to those of the schemas in it.
pub(super) fn describe_fields(owner: &str, schema: &mut Value) {
    if let Some(Value::Object(fields)) = schema.get_mut("properties") {
        for (field, said) in fields.iter_mut() {
            let described =
                said.get("description").is_some() || said.get("$ref").is_some() || said.get("const").is_some();
            if let (false, true, Some(sentence)) = (described, said.is_object(), description(owner, field)) {
                said["description"] = sentence.into();
            }
            describe_fields(owner, said);
        }
    }
    for part in ["items", "anyOf", "oneOf", "allOf"] {
        match schema.get_mut(part) {
            Some(Value::Array(all)) => all.iter_mut().for_each(|each| describe_fields(owner, each)),
            Some(each) => describe_fields(owner, each),
            None => {}
        }
    }
}
