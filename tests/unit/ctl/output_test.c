/* Responses as text. */
#include "base/buf.h"
#include "base/error.h"
#include "ctl/output.h"
#include "lib/harness.h"

static const char queues[] =
    "{\"columns\":[\"name\",\"messages\",\"arguments\"],\"rows\":["
    "[\"q1\",3,{\"x-a\":\"b\",\"n\":1}],[\"a,\\\"b\\\"\",0,{}]],\"notes\":[]}";
static const char status[] =
    "{\"tables\":[{\"title\":\"One\",\"name\":\"one\",\"columns\":[\"name\","
    "\"value\"],\"rows\":[[\"k\",1],[\"longer\",null]]},{\"title\":\"Two\","
    "\"name\":\"two\",\"columns\":[\"a\",\"b\",\"c\"],\"rows\":[[1,true,"
    "[\"x\",\"y\"]]]}],\"notes\":[\"node 'n3' is missing\"]}";

/* JSON in FORMAT; what is for OUT and for ERRORS must be as expected. */
static void
check(struct output_style style, const char *json, const char *out,
      const char *errors)
{
    struct buf out_text;
    struct buf error_text;
    struct error err;

    error_clear(&err);
    buf_init(&out_text);
    buf_init(&error_text);
    cr_assert_eq(
        output_format(&style, json, strlen(json), &out_text, &error_text, &err),
        0, "%s", err.text);
    buf_put_u8(&out_text, 0);
    buf_put_u8(&error_text, 0);
    cr_assert_str_eq((const char *)out_text.data, out);
    cr_assert_str_eq((const char *)error_text.data, errors);
    buf_deinit(&out_text);
    buf_deinit(&error_text);
}

static struct output_style
style_of(enum output_format format)
{
    struct output_style style = {
        .format = format, .has_format = true, .has_headers = true};

    return style;
}

Test(output, a_table_has_tabs_and_a_header)
{
    check(style_of(FORMAT_TABLE), queues,
          "name\tmessages\targuments\n"
          "q1\t3\t[{\"x-a\",\"b\"},{\"n\",1}]\n"
          "a,\"b\"\t0\t[]\n",
          "");
}

Test(output, a_table_may_have_no_header)
{
    struct output_style style = style_of(FORMAT_TABLE);

    style.has_headers = false;
    check(style, "{\"columns\":[\"a\"],\"rows\":[[1],[2]]}", "1\n2\n", "");
}

Test(output, a_pretty_table_is_aligned)
{
    check(style_of(FORMAT_PRETTY_TABLE), queues,
          "name   messages  arguments\n"
          "q1     3         [{\"x-a\",\"b\"},{\"n\",1}]\n"
          "a,\"b\"  0         []\n",
          "");
}

Test(output, csv_quotes_what_needs_it)
{
    check(style_of(FORMAT_CSV), queues,
          "name,messages,arguments\n"
          "q1,3,\"[{\"\"x-a\"\",\"\"b\"\"},{\"\"n\"\",1}]\"\n"
          "\"a,\"\"b\"\"\",0,[]\n",
          "");
}

Test(output, json_has_an_object_for_each_row)
{
    check(style_of(FORMAT_JSON), queues,
          "[\n{\"name\":\"q1\",\"messages\":3,\"arguments\":{\"x-a\":\"b\","
          "\"n\":1}},\n{\"name\":\"a,\\\"b\\\"\",\"messages\":0,"
          "\"arguments\":{}}\n]\n",
          "");
}

Test(output, an_empty_listing_is_an_empty_array)
{
    check(style_of(FORMAT_JSON), "{\"columns\":[\"a\"],\"rows\":[]}", "[\n]\n",
          "");
}

Test(output, several_tables_have_titles_and_notes)
{
    struct output_style style = style_of(FORMAT_TABLE);

    style.has_format = false;
    check(style, status,
          "One\n\nname    value\nk       1\nlonger\n"
          "\nTwo\n\na  b     c\n1  true  [x, y]\n",
          "Note: node 'n3' is missing\n");
}

Test(output, several_tables_are_members_of_an_object)
{
    check(style_of(FORMAT_JSON), status,
          "{\"one\":{\n\"k\":1,\n\"longer\":null\n},\n"
          "\"two\":[\n{\"a\":1,\"b\":true,\"c\":[\"x\",\"y\"]}\n]}\n",
          "Note: node 'n3' is missing\n");
}

Test(output, texts_are_lines_and_empty_ones_nothing)
{
    check(style_of(FORMAT_TABLE), "{\"text\":\"done\"}", "done\n", "");
    check(style_of(FORMAT_TABLE), "{\"text\":\"\"}", "", "");
    check(style_of(FORMAT_JSON), "{\"text\":\"\"}",
          "{\"result\":\"ok\",\"message\":\"\"}\n", "");
}

Test(output, errors_go_to_standard_error_and_json_to_both)
{
    check(style_of(FORMAT_TABLE), "{\"error\":\"no\"}", "", "Error: no\n");
    check(style_of(FORMAT_JSON), "{\"error\":\"no\"}",
          "{\"result\":\"error\",\"message\":\"no\"}\n", "Error: no\n");
}

Test(output, a_name_cannot_talk_to_the_terminal)
{
    check(style_of(FORMAT_TABLE),
          "{\"columns\":[\"a\"],\"rows\":[[\"\\u001b[2J\\t\\n\\r\\u007f"
          "\\u0085\xc3\xa9\"]]}",
          "a\n\\x1b[2J\\t\\n\\r\\x7f\\xc2\\x85\xc3\xa9\n", "");
}

Test(output, width_counts_characters)
{
    check(style_of(FORMAT_PRETTY_TABLE),
          "{\"columns\":[\"a\",\"b\"],\"rows\":[[\"\xc3\xa9\xc3\xa9\",1]]}",
          "a   b\n\xc3\xa9\xc3\xa9  1\n", "");
}

Test(output, what_is_no_response_is_refused)
{
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "1",
        "{}",
        "{\"text\":1}",
        "{\"columns\":[\"a\"]}",
        "{\"columns\":[\"a\"],\"rows\":[1]}",
        "{\"columns\":[\"a\"],\"rows\":[[1,2]]}",
        "{\"tables\":{}}",
        "{\"tables\":[1]}",
        "{\"tables\":[{\"columns\":[],\"rows\":1}]}",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct output_style style = style_of(FORMAT_TABLE);
        struct buf out;
        struct error err;

        error_clear(&err);
        buf_init(&out);
        cr_assert_eq(
            output_format(&style, bad[i], strlen(bad[i]), &out, &out, &err),
            -QR_EFORMAT, "%s", bad[i]);
        cr_assert(err.text[0] != '\0');
        buf_deinit(&out);
    }
}
