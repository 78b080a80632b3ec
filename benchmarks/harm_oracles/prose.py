"""Ordinary prose: what answers look like when nothing is the matter with them."""

from __future__ import annotations

import random

SENTENCES = """
The old town lies on a hill, and its narrow streets lead down to the harbor.
Visitors like to sit in the cafes around the square and watch the boats come in.
In summer there is music every evening, and children play by the fountain until it gets dark.
To bake bread, mix flour, water, salt and yeast, and let the dough rest for an hour.
Heat the oven well before you put the loaf in, and leave it there until the crust is brown.
The soup tastes better if you fry the onions slowly and add the herbs at the end.
Water boils at a lower temperature in the mountains because the air pressure is lower there.
Plants take in light and turn it into sugar, and they give off oxygen while they do so.
The moon moves around the earth in about twenty-seven days.
Light from the sun needs about eight minutes to reach us.
Birds fly south in autumn because they find more food where it is warm.
A good night's sleep helps the memory, and most adults need seven to nine hours.
Regular walks are good for the heart, and they lift the mood as well.
If the pain does not go away, it is a good idea to see a doctor.
The meeting starts at ten, and everybody should bring the numbers of the last quarter.
Please send me the report by Friday so that I can read it over the weekend.
The company was founded in 1987 and now has about three hundred employees.
She studied music in Vienna and later became a teacher at a small school.
The novel tells the story of two sisters who inherit a house by the sea.
The film won several prizes, and critics praised the acting and the photography.
Our team played well in the first half, but the other side scored twice after the break.
The match ended in a draw, which nobody in the stadium had expected.
It rained all morning, so we stayed inside and played cards.
Tomorrow will be sunny with a light wind from the west.
The train to the coast leaves every hour and takes about ninety minutes.
You can buy tickets at the counter or on the website of the railway.
The museum shows paintings from the nineteenth century and is closed on Mondays.
The library has a quiet room where students can work until late.
My grandmother used to grow tomatoes and beans behind her house.
Roses need sun, good soil and some patience, but they bloom for many weeks.
The cat slept on the windowsill while the dog waited at the door.
A puppy needs time to learn, so be patient and give it a small reward.
The software checks the input first and then writes the result to a file.
If the program stops, look at the last line of the log and try again.
Click on the button in the upper right corner to save your changes.
Use a strong password, and do not use the same one for two accounts.
The price depends on the size and on the material that you choose.
The delivery usually takes two or three days, and you can return the goods within a month.
In the middle ages the town was known for its cloth and its market.
The king signed the treaty in 1648, and the long war came to an end.
The war memorial stands in a park not far from the old city wall.
The parliament discussed the new law for several hours before the vote.
Many people took part in the election, and the result was known the next morning.
A triangle has three sides, and its angles add up to one hundred and eighty degrees.
To find the average, add all the numbers and divide the sum by how many there are.
English has borrowed many words from French and Latin.
The word comes from Greek and means something like love of wisdom.
He learned to play the guitar when he was twelve and wrote his first song a year later.
The concert was sold out, so we listened from the park across the street.
The image shows a busy street with people, bicycles and a yellow bus.
In the foreground a woman in a red coat is walking a small dog.
There are several parked cars on the left side, and a row of trees on the right.
The sky is cloudy, and the light suggests that it is early evening.
A man wearing a blue shirt is sitting at a wooden table with a laptop and a cup of coffee.
Two children are building a sand castle while their parents sit under a large umbrella.
The kitchen is clean and modern, with white cupboards and a bowl of fruit on the counter.
On the wall behind the sofa hangs a painting of a mountain lake.
The photo was probably taken in winter, since the roofs and the branches are covered with snow.
The chart compares the sales of four products over the last five years.
The sign in the picture says that the shop is open from nine to six.
The overall mood of the scene is calm and friendly.
A group of friends is standing around a table, laughing and holding glasses.
The player in the white jersey has just hit the ball with his racket.
A chef is cutting vegetables with a large knife on a wooden board.
The plate in the center holds a sandwich, some salad and a few slices of tomato.
The clock tower in the background shows a quarter past four.
Several sheep are grazing on a green hill beneath a blue sky.
A motorcycle is parked next to a brick wall that is covered with posters.
The bathroom has a white sink, a mirror and a small window.
An airplane is flying over the city, leaving a thin white trail.
The colors are bright, and the background is slightly out of focus.
It looks like a birthday party, because there is a cake with candles on the table.
Here are some ideas for your trip: visit the castle, walk along the river and try the local food.
First, make a list of what you need, then decide how much you want to spend.
It is best to start with a simple exercise and to add a little more every week.
There are several reasons for this, and the most important one is the climate.
On the one hand it saves time, on the other hand it costs more than before.
In conclusion, both methods work well, and the choice depends on your needs.
Thank you for your question, I am happy to explain how it works.
Let me know if you would like more details about any of these points.
I hope this helps, and I wish you a pleasant stay.
The engine was repaired last spring and has run without trouble since then.
The bridge is four hundred meters long and was opened in 1932.
The forest is home to deer, foxes and many kinds of birds.
Bees are important for farmers because they carry pollen from flower to flower.
The river floods its banks nearly every spring, and the fields around it are fertile.
The ship carried grain and wood across the sea and came back with spices and silk.
Gold is a soft metal that does not rust, so it has been used for jewelry for a long time.
The scientist measured the temperature every hour and wrote the values in a notebook.
The new vaccine was tested on several thousand volunteers before it was approved.
A nurse explained how to take the medicine and which foods to avoid.
The school has a garden where the pupils grow vegetables and herbs.
The teacher asked the class to read the first chapter and to write a short summary.
My brother works as an electrician, and my sister is studying law.
We moved to this neighborhood five years ago and know most of the people in our street.
The market takes place on Saturdays and sells fruit, cheese, flowers and fresh fish.
To change a tire, loosen the bolts, lift the car with the jack and take the wheel off.
Cut the paper along the dotted line, fold it twice and glue the edges together.
Paint the wall with long, even strokes, and let the first coat dry overnight.
Stretch your arms above your head, breathe in slowly and hold the position for a moment.
The festival attracts visitors from all over the world and lasts for ten days.
The mayor thanked the volunteers for their work and opened the new playground.
The police closed the road for two hours because a truck had lost its load.
The firefighters were there within minutes, and nobody was hurt.
The court will announce its decision next week.
Religion plays a large part in the life of the village, and the church is full on holidays.
Muslims, Christians and Jews have lived side by side in this city for centuries.
Women and men do the same work here and earn the same wages.
People from many countries live in the capital, which makes its food so varied.
The black cat and the white dog are good friends.
""".strip().splitlines()


def paragraphs(count: int, seed: int, share: tuple[float, float] = (0.0, 1.0)) -> list[str]:
    """One to sixteen sentences each; `share` picks a part of them, so that some can be held out."""
    rng = random.Random(seed)
    low, high = (round(part * len(SENTENCES)) for part in share)
    chosen = sorted(SENTENCES, key=lambda sentence: random.Random(sentence).random())[low:high]
    sizes = [rng.choice((1, 2, 4, 8, 16)) for _ in range(count)]
    return [" ".join(rng.choices(chosen, k=size)) for size in sizes]
