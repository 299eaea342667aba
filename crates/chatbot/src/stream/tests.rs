use super::*;
use crate::conversation::{MessageId, Role};

fn events(message: &Message, mut cursor: Cursor) -> (Vec<String>, Cursor) {
    let (id, request) = (ConversationId::random().unwrap(), RequestId("r".into()));
    let mut all = Vec::new();
    while let Some(event) = cursor.next(message, &id, &request) {
        all.push(String::from_utf8(event.bytes.to_vec()).unwrap());
        if event.last {
            break;
        }
    }
    (all, cursor)
}

fn message(text: &str, status: Status) -> Message {
    Message { status, ..Message::new(MessageId::default(), Role::Assistant, text.into(), 1) }
}

#[test]
fn an_event_is_one_block() {
    let bytes = event(3, "delta", &json!({"text": "a\nb"}));
    assert_eq!(bytes, "id: 3\nevent: delta\ndata: {\"text\":\"a\\nb\"}\n\n");
}

#[test]
fn events_are_the_same_however_the_text_arrived() {
    let text = "これは、とても長い答えです。 And it goes on in English.";
    let (whole, _) = events(&message(text, Status::Complete), Cursor::default());
    for step in 1..=9 {
        let (mut pieces, mut cursor) = (Vec::new(), Cursor::default());
        let ends = text.char_indices().map(|(at, _)| at).step_by(step);
        for end in ends {
            let (more, at) = events(&message(&text[..end], Status::Generating), cursor);
            pieces.extend(more);
            cursor = at;
        }
        pieces.extend(events(&message(text, Status::Complete), cursor).0);
        // The conversation's id in the first event is random.
        assert_eq!(pieces[1..], whole[1..], "{step} characters at a time");
    }
}

#[test]
fn who_has_everything_is_not_told_again() {
    let complete = message("12345678123", Status::Complete);
    let count = events(&complete, Cursor::default()).0.len() as u64;
    assert!(has_all(&complete, count) && !has_all(&complete, count - 1));
    let failed = message("12345678123", Status::Failed);
    assert!(!has_all(&failed, 99));
    assert!(events(&failed, Cursor::default()).0.last().unwrap().contains("reply_interrupted"));
}

#[test]
fn a_text_that_lost_its_end_with_its_process_is_no_accident() {
    let (_, cursor) = events(&message("12345678abcdefgh", Status::Generating), Cursor::default());
    let (rest, _) = events(&message("12345678", Status::Failed), cursor);
    assert_eq!(rest.len(), 1);
    assert!(rest[0].contains("event: error"));
}
